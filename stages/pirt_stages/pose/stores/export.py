"""The recipes of `pirt-pose export`: a store in the formats that other programs read."""

import io
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pirt.core.errors import DataError, StoreError
from pirt.core.files import refuse_folder, refuse_other_files, refuse_unlike, stays_inside, written_whole
from pirt.core.images import read_image
from pirt.core.manifest import ImageRow, Manifest
from pirt.core.texts import LARGEST_LABELS, json_in
from pirt.heatmaps.codec import decode
from pirt.heatmaps.reader import HeatmapStore
from pirt.heatmaps.schema import StoreAttributes
from pirt.progress import progress_over
from pirt.ranking.hdf5 import written_hdf5

_PERSON = 1
"""COCO's category."""
_READ_TOGETHER = 256
"""Images; as many as a shard has, so that a store in the manifest's order is read once."""


def export_hdf5(store: HeatmapStore, out: Path) -> None:
    """Write `heatmaps` N×K×Hm×Wm and `scores` N×K float32, `keys` N strings, and the store's attributes."""
    refuse_folder(out)
    refuse_unlike(out, _is_hdf5_of_heatmaps, "HDF5 of a store")
    count, shape = store.layout.count, store.layout.image_shape
    with written_hdf5(out) as (file, disk):
        heatmaps = file.create_dataset(
            "heatmaps", (count, *shape), np.float32, chunks=(1, *shape), compression="gzip", compression_opts=1,
            shuffle=True, fletcher32=True,
        )  # fmt: skip
        for rows, values in decoded_shards(store):
            heatmaps[rows.start : rows.stop] = values
            # Between two checks signals wait, and what a full disk has refused is held in memory.
            disk.check()
        file.create_dataset("scores", data=store.scores)
        file.create_dataset("keys", data=list(store.keys), dtype=h5py.string_dtype())
        file.attrs["keypoints"] = list(store.attributes.keypoints)
        file.attrs["attributes"] = json.dumps(store.attributes.as_table())
        file.attrs["fingerprint"] = store.fingerprint


def _is_hdf5_of_heatmaps(path: Path) -> bool:
    with suppress(OSError), h5py.File(path) as file:
        return all(name in file for name in ("heatmaps", "scores", "keys"))
    return False


def export_npy(store: HeatmapStore, out: Path) -> None:
    """Write `out/<key>.npy` for each image that was not skipped, K×Hm×Wm float32."""
    refuse_other_files(out, {f"{key}.npy" for key in store.keys})
    with written_whole(out) as beside:
        beside.mkdir()
        for rows, values in decoded_shards(store):
            for row, heatmaps in zip(rows, values, strict=True):
                if row not in store.skipped_rows:
                    path = _within(beside, store.keys[row])
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(npy_file(heatmaps))


def npy_file(values: NDArray[np.float32]) -> bytes:
    """Return the bytes of a `.npy` file: numpy itself reports another error or none when a disk refuses its writes."""
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def export_coco(store: HeatmapStore, manifest: Manifest, annotations: Path | None, out: Path) -> None:
    """Write COCO's keypoint results: one person per image, x and y in pixels of the image, with each one's score.

    `image_id` is that of `annotations`, a COCO file whose images are named as the manifest's paths, or else the row
    of the manifest, counted from 1. Skipped images have no result; one that is query and gallery has one by its id in
    `annotations`, of which a second would count as a second person.
    """
    store.require_images(manifest)
    refuse_folder(out)
    refuse_unlike(out, _is_keypoint_results, "keypoint results")
    ids = _image_ids(manifest, annotations)
    results: dict[int, dict[str, Any]] = {}
    for image_id, (image, row, heatmaps) in zip(ids, decoded_images(store, manifest), strict=True):
        if row not in store.skipped_rows and image_id not in results:
            size = read_image(manifest.image_path(image)).size
            places, scores = keypoints_of(heatmaps, size, store.attributes), store.scores[row]
            results[image_id] = _result(image_id, image.path, places, scores)
    with written_whole(out) as beside:
        beside.write_text(json.dumps(list(results.values())), encoding="utf-8")


def _is_keypoint_results(path: Path) -> bool:
    """Tell by the first of them, since a large store has gigabytes."""
    with path.open("rb") as file:
        begins = file.read(200)
    return begins == b"[]" or (begins.startswith(b'[{"image_id": ') and b', "file_name": ' in begins)


def keypoints_of(
    heatmaps: NDArray[np.float32], image_size: tuple[int, int], attributes: StoreAttributes
) -> NDArray[np.float64]:
    """Return K×2 x and y, in pixels of an image of `image_size` (width, height), of heatmaps K×Hm×Wm.

    As MMPose decodes: the highest cell, moved a quarter of a cell towards the higher neighbour. Pixel centres are at
    whole numbers. A heatmap without any value gives the image's corner.
    """
    # Here, since it takes seconds that the other forms need not wait for.
    from pirt_stages.pose.networks.openmmlab import get_heatmap_maximum, refine_keypoints

    highest, _ = get_heatmap_maximum(heatmaps)
    # MMPose says −1 of a heatmap without any value.
    cells = refine_keypoints(highest[None].clip(0), heatmaps)[0].astype(np.float64)
    input_size = np.array(attributes.input_size[::-1], np.float64)
    count = np.array(heatmaps.shape[:0:-1], np.float64)
    # As in `Geometry`: UDP's outermost cells lie on the input's outermost pixels.
    stride = (input_size - 1) / (count - 1) if attributes.udp else input_size / count
    places: NDArray[np.float64] = (cells * stride + 0.5) * (np.array(image_size) / input_size) - 0.5
    return places


def _result(image_id: int, file_name: str, places: NDArray[np.float64], scores: NDArray[np.float32]) -> dict[str, Any]:
    triples = np.column_stack([places.round(2), scores.astype(np.float64).round(5)])
    return {
        "image_id": image_id,
        "file_name": file_name,
        "category_id": _PERSON,
        "keypoints": triples.ravel().tolist(),
        "score": round(float(scores.mean(dtype=np.float64)), 5),
    }


def _image_ids(manifest: Manifest, annotations: Path | None) -> list[int]:
    if annotations is None:
        return list(range(1, len(manifest.rows) + 1))
    try:
        images = json_in(annotations, LARGEST_LABELS)["images"]
        known = {str(image["file_name"]): image["id"] for image in images}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"annotations {annotations} are not COCO JSON with images of file_name and id") from error
    if not all(type(number) is int for number in known.values()) or not len(set(known.values())) == len(images):
        raise DataError(f"annotations {annotations} have an image whose id is no whole number, or an id or image twice")
    if unknown := [row.path for row in manifest.rows if row.path not in known]:
        raise DataError(
            f"annotations {annotations} lack {len(unknown)} of the manifest's images, the first is {unknown[0]!r}"
        )
    return [known[row.path] for row in manifest.rows]


def decoded_shards(store: HeatmapStore) -> Iterator[tuple[range, NDArray[np.float32]]]:
    """Yield the rows of each shard with their heatmaps n×K×Hm×Wm, below a bar."""
    for shard in progress_over(range(store.layout.shards), "exporting", "shard"):
        values = decode(store.read_shard(shard), store.attributes.codec, store.attributes.tau)
        yield store.layout.rows(shard), values


def decoded_images(store: HeatmapStore, manifest: Manifest) -> Iterator[tuple[ImageRow, int, NDArray[np.float32]]]:
    """Yield each image of a manifest with its row in the store and its heatmaps K×Hm×Wm, below a bar."""
    places = store.indices_of(manifest.rows)
    for start in progress_over(range(0, len(places), _READ_TOGETHER), "exporting", "part"):
        some = slice(start, start + _READ_TOGETHER)
        yield from zip(manifest.rows[some], places[some].tolist(), store.read(places[some]), strict=True)


def _within(folder: Path, key: str) -> Path:
    if not stays_inside(key):
        raise StoreError(f"key {key!r} would be written outside the folder; do not trust this store")
    return folder / f"{key}.npy"
