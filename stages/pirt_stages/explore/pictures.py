"""Thumbnails of the images that are shown, and the part heatmaps of queries."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pirt.core.images import read_image
from pirt.core.manifest import ImageRow, Manifest
from pirt.heatmaps.reader import HeatmapStore
from pirt.machine import cores
from pirt.progress import progress
from pirt_stages.explore.traits import BODY

THUMBNAILS, HEATMAPS = "thumbnails", "heatmaps"
_THUMBNAIL, _QUERY = (64, 128), (128, 256)  # width and height that pictures fit into
_QUALITY, _METHOD = 60, 2
_PER_FOLDER = 1000
_LEVELS = 31  # of a heatmap; eyes see no more, and files are half as large


@dataclass(frozen=True)
class Look:
    """Height and width of an image in pixels, and its mean brightness from 0 to 255."""

    height: int
    width: int
    brightness: float


def picture_name(number: int) -> str:
    """Return the place of a picture below its folder; names of images never become names of files."""
    # A thousand in a folder, so that tools that list one stay fast.
    return f"{number // _PER_FOLDER:03}/{number % _PER_FOLDER:03}.webp"


def write_thumbnails(out: Path, manifest: Manifest, rows: Mapping[int, ImageRow], query_count: int) -> list[Look]:
    """Write the thumbnails of `rows`, numbered as in the embeddings; return how the queries, which come first, look.

    Queries have larger ones.
    """
    for folder in {(out / THUMBNAILS / picture_name(number)).parent for number in rows}:
        folder.mkdir(parents=True)

    def write(number: int) -> Look | None:
        image = read_image(manifest.image_path(rows[number]))
        # Before it is made small: a trait is the size of the image itself.
        of_query = number < query_count
        look = _look(image) if of_query else None
        image.thumbnail(_QUERY if of_query else _THUMBNAIL, Image.Resampling.BICUBIC, reducing_gap=2)
        image.save(out / THUMBNAILS / picture_name(number), "WEBP", quality=_QUALITY, method=_METHOD)
        return look

    # Pillow decodes and encodes outside of Python's lock.
    with ThreadPoolExecutor(cores()) as pool, progress(len(rows), "thumbnails", "image") as bar:
        looks = []
        for look in pool.map(write, sorted(rows)):
            looks += [look] if look else []
            bar.update()
        return looks


def _look(image: Image.Image) -> Look:
    return Look(image.height, image.width, float(np.asarray(image.convert("L").resize((16, 32))).mean()))


def write_heatmaps(out: Path, store: HeatmapStore, rows: Sequence[ImageRow]) -> None:
    """Write, for each query, a small picture whose red, green and blue are head, upper and lower body."""
    places = store.indices_of(rows)
    for start in range(0, len(rows), _PER_FOLDER):
        (out / HEATMAPS / picture_name(start)).parent.mkdir(parents=True)
        values = store.read(places[start : start + _PER_FOLDER])
        groups = np.stack([values[:, list(group)].max(axis=1) for _, group in BODY], axis=-1)
        levels = (np.rint(groups.clip(0, 1) * _LEVELS) * (255 / _LEVELS)).astype(np.uint8)
        for number, picture in enumerate(levels, start):
            file = out / HEATMAPS / picture_name(number)
            # WebP with losses would mix the channels, which are parts here and not colours.
            Image.fromarray(picture).save(file, "WEBP", lossless=True, method=_METHOD)
