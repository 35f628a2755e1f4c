"""Images read and decoded by dask's threads, ahead of the network."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from dask.base import compute
from dask.delayed import delayed
from numpy.typing import NDArray

from pirt.core.errors import DataError
from pirt.core.files import is_refusal, sha256_of
from pirt.core.images import read_image
from pirt.core.manifest import ImageRow, Manifest
from pirt.heatmaps.schema import SkippedImage
from pirt.progress import progress
from pirt_stages.pose.extraction.geometry import Geometry

_READ_TOGETHER = 4
"""Images that one task takes: dask's own cost is small beside decoding, and a batch keeps several threads busy."""
_CHECKED_TOGETHER = 4096
_BATCHES_AHEAD = 3

Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Inputs:
    """`images` B×Hi×Wi×3 uint8 RGB as the network takes them, `sizes` B×2, width and height of the files' images."""

    images: NDArray[np.uint8]
    sizes: NDArray[np.int64]


class Reader:
    """Reads batches on `threads` threads; a context manager that ends them."""

    def __init__(self, geometry: Geometry, threads: int) -> None:
        self.geometry = geometry
        self._decoders = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        # Another pool: a task that waits for decoders must not hold the place of one.
        self._feeder = ThreadPoolExecutor(1, thread_name_prefix="feed")

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        # Before the decoders, to which a batch at work still hands its images.
        self._feeder.shutdown(cancel_futures=True)
        self._decoders.shutdown(cancel_futures=True)

    def read(self, paths: Sequence[Path | None]) -> Inputs:
        """Read one batch; a row without a path stays black."""
        groups = [paths[start : start + _READ_TOGETHER] for start in range(0, len(paths), _READ_TOGETHER)]
        tasks = [delayed(_inputs)(group, self.geometry) for group in groups]
        parts = compute(*tasks, scheduler="threads", pool=self._decoders)  # type: ignore[no-untyped-call]
        return Inputs(np.concatenate([part.images for part in parts]), np.concatenate([part.sizes for part in parts]))

    def ahead(self, batches: Iterator[Sequence[Path | None]]) -> Iterator[Inputs]:
        """Read batches in order, a few ahead of the one that is asked for."""
        return in_order(self._feeder, self.read, batches, _BATCHES_AHEAD)


def in_order(
    pool: ThreadPoolExecutor, make: Callable[[Given], Made], items: Iterable[Given], ahead: int
) -> Iterator[Made]:
    """Yield what `make` makes of each item, in order; `pool` works up to `ahead` items ahead of the one asked for."""
    waiting: deque[Future[Made]] = deque()
    for item in items:
        waiting.append(pool.submit(make, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _inputs(paths: Sequence[Path | None], geometry: Geometry) -> Inputs:
    height, width = geometry.input_size
    images = np.zeros((len(paths), height, width, 3), dtype=np.uint8)
    # Black rows are as large as the input: `topdown` could not map one of 0×0 back.
    sizes = np.full((len(paths), 2), (width, height), dtype=np.int64)
    for index, path in enumerate(paths):
        if path is not None:
            image = read_image(path)
            images[index], sizes[index] = geometry.prepare(image), image.size
    return Inputs(images, sizes)


def find_bad_images(manifest: Manifest, geometry: Geometry, threads: int) -> tuple[SkippedImage, ...]:
    """Decode every image of `manifest` and return those that cannot be used, with the reason.

    Good images that are not those of the manifest are a DataError: the store would record the SHA-256 of others.
    """
    if not manifest.root.is_dir():
        raise DataError(f"data root {manifest.root} is not a folder; pass the right one with --root")
    bad: list[SkippedImage] = []
    changed: list[str] = []
    with (
        ThreadPoolExecutor(threads) as pool,
        progress(len(manifest.rows), "checking", "image") as bar,
    ):
        # In parts: dask plans all tasks of a call before the first one runs.
        for start in range(0, len(manifest.rows), _CHECKED_TOGETHER):
            rows = manifest.rows[start : start + _CHECKED_TOGETHER]
            groups = [rows[first : first + _READ_TOGETHER] for first in range(0, len(rows), _READ_TOGETHER)]
            tasks = [delayed(_bad_of)(manifest.root, group, geometry) for group in groups]
            for found_bad, found_changed in compute(*tasks, scheduler="threads", pool=pool):  # type: ignore[no-untyped-call]
                bad += found_bad
                changed += found_changed
            bar.update(len(rows))
    if changed:
        raise DataError(
            f"{len(changed)} images were changed after the import, the first is {changed[0]}; restore them, or run "
            "`pirt-data import` again"
        )
    return tuple(bad)


def _bad_of(root: Path, rows: Sequence[ImageRow], geometry: Geometry) -> tuple[list[SkippedImage], list[str]]:
    bad, changed = [], []
    for row in rows:
        path = root / row.path
        try:
            geometry.require_usable(read_image(path), path)
        except DataError as error:
            # A skipped image stays skipped, while the trouble of a disk or network passes.
            if is_refusal(error.__cause__):
                raise
            # The store must not depend on where the images lie.
            bad.append(SkippedImage(key=row.key, reason=str(error).replace(str(path), row.path)))
        else:
            if sha256_of(path) != row.sha256:
                changed.append(str(path))
    return bad, changed


def require_enough(bad: Sequence[SkippedImage], count: int, *, skip_bad: bool) -> None:
    """Raise DataError, and list them, when images are bad and not to be skipped, or when all `count` are."""
    if bad and not skip_bad:
        raise DataError(
            "\n".join(
                [f"{len(bad)} images cannot be used; fix them or pass --skip-bad to record them as skipped:"]
                + [f"  {image.reason}" for image in bad]
            )
        )
    # On request too: behind a wrong root all are bad, and a finished store of zeros would look like any other.
    if len(bad) == count:
        raise DataError(f"none of the {count} images can be used, the first: {bad[0].reason}; check the data root")
