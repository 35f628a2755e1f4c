from pirt.api.embedding import Embedded as Embedded
from pirt.api.embedding import embed as embed
from pirt.api.embedding import live_heatmaps as live_heatmaps
from pirt.api.matching import distances as distances
from pirt.api.matching import draw_rank_list as draw_rank_list
from pirt.api.matching import measure as measure
from pirt.api.matching import rank as rank
from pirt.api.reading import load_run as load_run
from pirt.api.reading import manifest_of_folder as manifest_of_folder
from pirt.api.reading import open_store as open_store
from pirt.api.reading import read_manifest as read_manifest
from pirt.core.errors import PirtError as PirtError
from pirt.core.manifest import Manifest as Manifest
from pirt.models import build_pirt as build_pirt
from pirt.ranking.params import EvaluateParams as EvaluateParams

__version__: str
