"""Matching what was embedded: distances, rank lists, metrics, pictures."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pirt.api.asked import require_at_least, require_matching
from pirt.api.embedding import Embedded
from pirt.core.errors import DataError
from pirt.core.images import read_image
from pirt.core.pids import JUNK_PID
from pirt.nearest import RankLists, rank_gallery
from pirt.ranking.embed import choose_device
from pirt.ranking.evaluation import evaluate, query_blocks
from pirt.ranking.matching import DEFAULT_MODE, ConfidenceMode, GroupDistance
from pirt.ranking.metrics import RankMetrics
from pirt.ranking.params import EvaluateParams
from pirt.ranking.verification import pair_distances
from pirt.visual.rank_list import Shown, Verdict, draw_nearest, match_of, verdict_of


def distances(
    query: Embedded,
    gallery: Embedded,
    *,
    confidence: ConfidenceMode = DEFAULT_MODE,
    group_distance: GroupDistance = "euclidean",
) -> NDArray[np.float32]:
    """Return the distance of every query to every gallery image, b×M: global, plus parts where the model has them.

    `confidence` says whose confidences weigh the parts (Table 5).
    """
    require_matching(confidence, group_distance)
    _require_one_model(query, gallery)
    matrix = np.empty((len(query), len(gallery)), np.float32)
    # In memory at once: the global distances, their sum with those of the parts, and a matrix a group.
    for rows in query_blocks(len(query), len(gallery), 2 + len(gallery.group_names)):
        matrix[rows] = pair_distances(query.features[rows], gallery.features, confidence, group_distance).numpy()
    return matrix


def rank(
    query: Embedded,
    gallery: Embedded,
    top_k: int = 10,
    *,
    top_n: int = 100,
    confidence: ConfidenceMode = DEFAULT_MODE,
) -> RankLists:
    """Return the `top_k` nearest gallery images of each query, coarse-to-fine: places and distances, b×k each."""
    require_at_least(1, top_k, "top_k")
    require_at_least(1, top_n, "top_n")
    require_matching(confidence)
    _require_one_model(query, gallery)
    return rank_gallery(query.features, gallery.features, top_k, top_n, confidence)


def measure(
    query: Embedded,
    gallery: Embedded,
    params: EvaluateParams | None = None,
    *,
    confidence: ConfidenceMode = DEFAULT_MODE,
    device: str = "auto",
) -> RankMetrics:
    """Match and measure as `pirt-eval` does: CMC, mAP, mINP, and `average_precisions`, one per query."""
    require_matching(confidence)
    _require_one_model(query, gallery)
    how = params or EvaluateParams()
    found = evaluate(query.persons, gallery.persons, how, device=choose_device(device))
    # Without parts there is nothing to weigh, so there is one ranking whatever was asked for.
    return found[confidence if gallery.group_names else "none"]


def draw_rank_list(query: Embedded, gallery: Embedded, top_k: int = 10, *, top_n: int = 100) -> Image.Image:
    """Draw each query, and beside it the nearest gallery images with their distances and confidences.

    Frames are green and red where query and gallery come from one manifest with identities, else grey.
    """
    found = rank(query, gallery, top_k, top_n=top_n)
    one_manifest = query.manifest.fingerprint == gallery.manifest.fingerprint
    rows = []
    for place, (images, apart) in enumerate(zip(found.images.tolist(), found.distances.tolist(), strict=True)):
        # A pid is one person within one manifest alone, and −1 is what a folder without labels gives everybody.
        known = one_manifest and query.rows[place].pid != JUNK_PID
        beside = tuple(
            _shown(gallery, image, f"{distance:.3f}", *_verdict(query, place, gallery, image, known))
            for image, distance in zip(images, apart, strict=True)
        )
        rows.append((_shown(query, place, query.keys[place], "query"), beside))
    return draw_nearest(rows)


def _require_one_model(query: Embedded, gallery: Embedded) -> None:
    """Raise DataError for features of two models; for one that was never saved, only their number can tell."""
    widths = query.features.globals.shape[1], gallery.features.globals.shape[1]
    runs = query.weights_sha256, gallery.weights_sha256
    if widths[0] != widths[1] or query.group_names != gallery.group_names or (None not in runs and runs[0] != runs[1]):
        raise DataError(f"{query} and {gallery} come from two models and cannot be compared; embed both with one")


def _verdict(query: Embedded, place: int, gallery: Embedded, image: int, known: bool) -> tuple[Verdict, bool]:
    if not known:
        return "unknown", False
    asked, other = query.rows[place], gallery.rows[image]
    return verdict_of(match_of(asked.pid, other.pid)), asked.camid == other.camid


def _shown(images: Embedded, place: int, caption: str, verdict: Verdict, same_camera: bool = False) -> Shown:
    picture = read_image(images.manifest.image_path(images.rows[place]))
    confidences = {name: float(values[place]) for name, values in images.confidence.items()}
    return Shown(picture, verdict, same_camera, caption, confidences)
