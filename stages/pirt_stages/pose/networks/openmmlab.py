"""The names that this program takes from MMPose and MMEngine, imported without their warnings.

They warn on import about compiled operators and pkg_resources, neither of which is used here.
"""

import importlib
import pickle
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


def _import_yapf() -> None:
    """Import yapf, which MMEngine imports, again while another process half-way writes yapf's cache of its grammar.

    yapf renames the file before its last bytes are on disk (https://github.com/google/yapf/issues/1164), so that of
    several processes that start together on a new machine, such as the workers of a cluster, one may find it cut.
    """
    for _ in range(20):
        try:
            importlib.import_module("yapf")
        except (EOFError, pickle.UnpicklingError):
            time.sleep(0.1)
        else:
            return
    # Once more, for the error of a cache that stays cut.
    importlib.import_module("yapf")


class _NotHereError(NotImplementedError):
    """MMPose's data sets and COCO metrics are not used, and neither is what they are made of."""

    def __init__(self, *_: object) -> None:
        super().__init__("MMPose's own data sets and metrics cannot be used, since xtcocotools is not installed")


@contextmanager
def _without_xtcocotools() -> Iterator[None]:
    """Let MMPose be imported without xtcocotools, which has wheels for Python 3.11 and numpy 1 only.

    No model calls it. The models import two small helpers from the packages of MMPose's data sets and metrics, and
    those packages bind these three names on their way in. See docs/decisions/lock-file.md.
    """
    package, coco, cocoeval, mask = (
        ModuleType(name) for name in ("xtcocotools", *(f"xtcocotools.{part}" for part in ("coco", "cocoeval", "mask")))
    )
    bound = {"coco": coco, "cocoeval": cocoeval, "mask": mask}
    vars(package).update(bound, __path__=[])
    vars(coco)["COCO"] = vars(cocoeval)["COCOeval"] = _NotHereError
    names = {"xtcocotools": package} | {f"xtcocotools.{name}": module for name, module in bound.items()}
    before = {name: sys.modules[name] for name in names if name in sys.modules}
    sys.modules.update(names)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        # Where xtcocotools is installed, other programs in this process may use it.
        sys.modules.update(before)


with warnings.catch_warnings(), _without_xtcocotools():
    warnings.simplefilter("ignore")
    _import_yapf()
    import mmpose
    import mmpose.codecs
    import mmpose.models
    from mmengine.config import Config, ConfigDict
    from mmengine.fileio import YamlHandler, register_handler
    from mmengine.logging import MMLogger
    from mmengine.model.utils import revert_sync_batchnorm
    from mmengine.registry import MODELS as BASIC_MODELS
    from mmengine.registry import init_default_scope
    from mmpose.codecs.utils import get_heatmap_maximum, refine_keypoints
    from mmpose.evaluation.functional import keypoint_pck_accuracy
    from mmpose.models.heads import CPMHead, HeatmapHead, MSPNHead, ViPNASHead
    from mmpose.models.utils.tta import flip_heatmaps
    from mmpose.registry import KEYPOINT_CODECS, MODELS
    from mmpose.structures.bbox import get_udp_warp_matrix, get_warp_matrix

HEATMAP_HEADS = (HeatmapHead, CPMHead, MSPNHead, ViPNASHead)

PACKAGED_CONFIGS = Path(mmpose.__file__).parent / ".mim" / "configs"
"""Where MMPose keeps the configs that can be named instead of given as a file."""

VERSION: str = mmpose.__version__


def known_parts() -> frozenset[str]:
    """Return the names of what MMPose's networks are made of: modules, losses, codecs and layers."""
    return frozenset().union(*(registry.module_dict for registry in (MODELS, BASIC_MODELS, KEYPOINT_CODECS)))


__all__ = [
    "HEATMAP_HEADS",
    "KEYPOINT_CODECS",
    "MODELS",
    "PACKAGED_CONFIGS",
    "VERSION",
    "Config",
    "ConfigDict",
    "MMLogger",
    "YamlHandler",
    "flip_heatmaps",
    "get_heatmap_maximum",
    "get_udp_warp_matrix",
    "get_warp_matrix",
    "init_default_scope",
    "keypoint_pck_accuracy",
    "known_parts",
    "refine_keypoints",
    "register_handler",
    "revert_sync_batchnorm",
]
