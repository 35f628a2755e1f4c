"""What queries have in common: the groups that an explorer compares failures by."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pirt.core.errors import DataError
from pirt.core.manifest import ImageRow
from pirt.core.texts import LARGEST_LABELS, json_in
from pirt.heatmaps.reader import HeatmapStore
from pirt.models.part_groups import GROUPINGS, VISIBLE_FROM, visible_groups

BODY = GROUPINGS["paper"]
"""The parts of the body that traits speak of, whatever groups a model has."""
_COVERED_EDGES = (0.05, 0.2, 0.35, 0.5)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Trait:
    """A partition of the Q queries: `bins`: Q places in `labels`; `note` says where it comes from."""

    name: str
    title: str
    note: str
    labels: tuple[str, ...]
    bins: Integers


def visible_parts(store: HeatmapStore, rows: Sequence[ImageRow]) -> tuple[NDArray[np.bool_], Floats]:
    """Return which part groups of n images are visible, n×G, and the share of keypoints that are not, n."""
    scores = store.scores[store.indices_of(rows)]
    return visible_groups(scores, BODY), 1 - (scores >= VISIBLE_FROM).mean(axis=1)


def known_cover(path: Path, rows: Sequence[ImageRow]) -> Floats:
    """Read from the keypoints of rendered pedestrians which share of each person something covers."""
    try:
        table = json_in(path, LARGEST_LABELS)
        files = {image["id"]: image["file_name"] for image in table["images"]}
        shares = {files[a["image_id"]]: float(a["occlusion"]) for a in table["annotations"]}
    except FileNotFoundError:
        raise DataError(f"keypoints {path} do not exist; `pirt-data synthesize` writes them") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a keypoints.json of `pirt-data synthesize`; leave out --keypoints") from error
    if missing := [row.path for row in rows if row.path not in shares]:
        raise DataError(f"{path} does not know {missing[0]!r} and {len(missing) - 1} others; leave out --keypoints")
    return np.array([shares[row.path] for row in rows])


def by_parts(visible: NDArray[np.bool_]) -> Trait:
    """Group by the visible part groups."""
    codes = visible @ (1 << np.arange(visible.shape[1]))
    # From all parts down to none.
    found = sorted(np.unique(codes).tolist(), reverse=True)
    note = f"from the heatmaps: at least half of a part's keypoints reach {VISIBLE_FROM}"
    labels = tuple(_parts_label(code) for code in found)
    return Trait("parts", "Visible parts", note, labels, np.array([found.index(code) for code in codes.tolist()]))


def _parts_label(code: int) -> str:
    return " + ".join(name for g, (name, _) in enumerate(BODY) if code >> g & 1) or "none"


def by_cover(shares: Floats, known: bool) -> Trait:
    """Group by the share of the body that is covered."""
    edges = np.array(_COVERED_EDGES)
    note = (
        "known, since the pedestrians are rendered"
        if known
        else f"estimated: keypoints whose heatmap stays below {VISIBLE_FROM}"
    )
    labels = ("up to 5 %", "5–20 %", "20–35 %", "35–50 %", "over 50 %")
    # “left”: a share of exactly 5 % is still “up to 5 %”.
    return _without_empty(Trait("covered", "Body covered", note, labels, edges.searchsorted(shares, "left")))


def by_quarter(name: str, title: str, note: str, values: Floats, unit: str, digits: int = 0) -> Trait:
    """Cut a number into quarters of the queries; labels have more than `digits` where these tell too few apart."""
    # Equal edges become one: where many images are alike there are fewer than four groups.
    edges = np.unique(np.quantile(values, [0.25, 0.5, 0.75]))
    found, bins = np.unique(edges.searchsorted(values, "left"), return_inverse=True)
    groups = [values[bins == place] for place in range(len(found))]
    while len(set(labels := [_range(group, digits) for group in groups])) < len(groups):
        digits += 1
    return Trait(name, title, note, tuple(f"{label}{unit}" for label in labels), bins)


def _range(values: Floats, digits: int) -> str:
    low, high = f"{values.min():.{digits}f}", f"{values.max():.{digits}f}"
    return low if low == high else f"{low}–{high}"


def by_camera(camids: Integers) -> Trait:
    """Group by the query's camera."""
    found, bins = np.unique(camids, return_inverse=True)
    return Trait("camera", "Camera of the query", "", tuple(f"camera {camera}" for camera in found), bins)


def _without_empty(trait: Trait) -> Trait:
    found, bins = np.unique(trait.bins, return_inverse=True)
    return Trait(trait.name, trait.title, trait.note, tuple(trait.labels[place] for place in found), bins)
