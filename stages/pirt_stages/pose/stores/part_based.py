"""A store in the files that part-based re-identification programs read: BPBReID's and KPR's.

Both look in the folder of a data set, under the folder that an image lies in: `masks/pifpaf/query/…` and
`external_annotation/<kp_dir>/query/…`; for Partial-REID, KPR looks beside each image. A skipped image gets empty fields
or no skeleton, since both want a file for every image.
"""

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pirt.core.errors import DataError
from pirt.core.files import refuse_other_files, written_whole
from pirt.core.images import read_image
from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.manifest import ImageRow, Manifest
from pirt.heatmaps.reader import HeatmapStore
from pirt_stages.pose.stores.export import decoded_images, keypoints_of, npy_file

_LIMBS = (
    "left_ankle left_knee, left_knee left_hip, right_ankle right_knee, right_knee right_hip, left_hip right_hip, "
    "left_shoulder left_hip, right_shoulder right_hip, left_shoulder right_shoulder, left_shoulder left_elbow, "
    "right_shoulder right_elbow, left_elbow left_wrist, right_elbow right_wrist, left_eye right_eye, nose left_eye, "
    "nose right_eye, left_eye left_ear, right_eye right_ear, left_ear left_shoulder, right_ear right_shoulder"
)
LIMBS = tuple(tuple(COCO_KEYPOINTS.index(end) for end in pair.split()) for pair in _LIMBS.split(", "))
"""OpenPifPaf's 19 connections, in its order, which BPBReID counts on from channel 17."""
_THICKNESS = 1.0
"""Standard deviation of a limb across, in cells."""
_BODY_IMAGES = "_body_images"
_P_DUKE_PARTS = ("train", "test")
"""P-DukeMTMC-reID has both kinds of images in each of these."""


def export_bpbreid(store: HeatmapStore, manifest: Manifest, out: Path) -> None:
    """Write `out/masks/pifpaf/<folder>/<stem>.jpg.confidence_fields.npy` of each image, float32 36×Hm×Wm in 0 to 1.

    Channels are OpenPifPaf's: the 17 heatmaps, then a field along each of 19 limbs. A heatmap network knows no limbs,
    so these are drawn between the keypoints, as high as the weaker one.
    """

    def names(row: ImageRow) -> list[str]:
        if _is_partial_reid(row):
            return [f"{row.path}.confidence_fields.npy"]
        folder = _folder(row, manifest)
        if part := _p_duke_part(row):
            folder = f"{part}/{folder}"
        # Of Occluded-REID's .tif images, versions of BPBReID ask for one name or the other, and KPR for .jpg.
        kinds = ("jpg", "tif") if row.path.endswith(".tif") else ("jpg",)
        return [f"masks/pifpaf/{folder}/{_stem(row)}.{kind}.confidence_fields.npy" for kind in kinds]

    def write(path: Path, row: ImageRow, heatmaps: NDArray[np.float32]) -> None:
        path.write_bytes(npy_file(np.concatenate([heatmaps, limb_fields(heatmaps)])))

    _export(store, manifest, out, names, write)


def export_kpr(store: HeatmapStore, manifest: Manifest, out: Path) -> None:
    """Write `out/external_annotation/pirt/<folder>/<stem>.jpg_keypoints.json` of each image, for `kp_dir: pirt`.

    Each holds one skeleton, the target: x, y in pixels of the image and the score of COCO's 17 keypoints.
    """

    def write(path: Path, row: ImageRow, heatmaps: NDArray[np.float32]) -> None:
        skeletons = []
        if heatmaps.any():
            size = read_image(manifest.image_path(row)).size
            skeletons = [_skeleton(keypoints_of(heatmaps, size, store.attributes), heatmaps, size)]
        path.write_text(json.dumps(skeletons), encoding="utf-8")

    def names(row: ImageRow) -> list[str]:
        if _is_partial_reid(row):
            return [f"{row.path}.predictions.json"]
        # KPR's loader of Occluded-REID alone asks for the images' own suffix.
        kind = "tif" if row.path.endswith(".tif") else "jpg"
        # Of P-DukeMTMC-reID it looks by the person's folder, where BPBReID looks by the two above.
        folder = PurePosixPath(row.path).parent.name if _p_duke_part(row) else _folder(row, manifest)
        return [f"external_annotation/pirt/{folder}/{_stem(row)}.{kind}_keypoints.json"]

    _export(store, manifest, out, names, write)


def limb_fields(heatmaps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 19×Hm×Wm fields of heatmaps K×Hm×Wm: along each limb as high as its weaker end, falling off beside it."""
    count, height, width = heatmaps.shape
    flat = heatmaps.reshape(count, -1)
    highest = flat.argmax(axis=1)
    scores, places = flat.max(axis=1), np.column_stack([highest // width, highest % width])
    ends = places[np.array(LIMBS)].astype(np.float64)  # 19×2×2: limb, end, row and column
    cells = np.argwhere(np.ones((height, width)))[None]
    along = ends[:, 1] - ends[:, 0]
    away = cells - ends[:, :1]
    # Both ends may be in one cell; the limb is a point then.
    length = np.maximum((along**2).sum(axis=1), 1e-9)
    nearest = ((away * along[:, None]).sum(axis=2) / length[:, None]).clip(0, 1)
    apart = ((away - nearest[..., None] * along[:, None]) ** 2).sum(axis=2)
    weaker = scores[np.array(LIMBS)].min(axis=1)
    fields = np.exp(-apart / (2 * _THICKNESS**2)) * weaker[:, None]
    drawn: NDArray[np.float32] = fields.reshape(len(LIMBS), height, width).astype(np.float32)
    return drawn


def _skeleton(places: NDArray[np.float64], heatmaps: NDArray[np.float32], size: tuple[int, int]) -> dict[str, Any]:
    scores = heatmaps.max(axis=(1, 2)).astype(np.float64)
    # KPR drops what lies outside, if only by half a cell, and takes 0, 0, 0 for a keypoint that is not there.
    inside = places.clip(0, np.array(size) - 1)
    triples = np.column_stack([inside, scores]).round(4) * (scores > 0)[:, None]
    return {
        "keypoints": triples.ravel().tolist(),
        "score": round(float(scores.mean()), 4),
        # A re-ID image is the box of its person.
        "bbox": [0, 0, *size],
        "category_id": 1,
        "is_target": True,
    }


def _export(
    store: HeatmapStore,
    manifest: Manifest,
    out: Path,
    names_of: Callable[[ImageRow], list[str]],
    write: Callable[[Path, ImageRow, NDArray[np.float32]], None],
) -> None:
    store.require_images(manifest)
    names = [names_of(row) for row in manifest.rows]
    _require_distinct_names(names, manifest)
    refuse_other_files(out, {file for files in names for file in files})
    with written_whole(out) as beside:
        for files, (row, _, heatmaps) in zip(names, decoded_images(store, manifest), strict=True):
            for file in files:
                path = beside / file
                path.parent.mkdir(parents=True, exist_ok=True)
                write(path, row, heatmaps)


def _require_distinct_names(names: list[list[str]], manifest: Manifest) -> None:
    seen: dict[str, str] = {}
    for (name, *_), row in zip(names, manifest.rows, strict=True):
        # An image may be query and gallery, as pictures in both of Occluded-DukeMTMC's splits are.
        if seen.setdefault(name, row.path) != row.path:
            raise DataError(
                f"images {seen[name]} and {row.path} would both become {name}, since that program looks by folder and "
                "stem; rename one of them"
            )


def _is_partial_reid(row: ImageRow) -> bool:
    """Tell whether the image lies in `partial_body_images` or the like itself, and in no folder of its person."""
    return PurePosixPath(row.path).parent.name.endswith(_BODY_IMAGES)


def _p_duke_part(row: ImageRow) -> str | None:
    """Return the folder of P-DukeMTMC-reID, train or test, that the image is of; None of other data sets' images."""
    folder = PurePosixPath(row.path).parent.parent
    part = folder.parent.name
    return part if part in _P_DUKE_PARTS and folder.name.endswith(_BODY_IMAGES) else None


def _folder(row: ImageRow, manifest: Manifest) -> str:
    """Return the folder's name by which the loaders look: of `occluded_body_images/001/`, the outer one."""
    folder = PurePosixPath(row.path).parent
    outer = folder.parent.name
    return outer if outer.endswith(_BODY_IMAGES) else folder.name or manifest.root.resolve().name


def _stem(row: ImageRow) -> str:
    return PurePosixPath(row.path).stem
