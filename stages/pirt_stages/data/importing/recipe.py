"""Recipe: a data set becomes a manifest; its images stay where they are."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pirt.core.errors import DataError
from pirt.core.files import sha256_of
from pirt.core.manifest import ImageRow, Manifest, write_manifest
from pirt.progress import progress
from pirt_stages.data.importing.archives import is_archive, unpacked
from pirt_stages.data.importing.layouts import find_data_set, layouts_named
from pirt_stages.data.importing.layouts.found import FoundImage, Reading
from pirt_stages.data.importing.layouts.msmt17 import MSMT17Layout
from pirt_stages.data.importing.marks import mark_of

_THREADS = 8
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Imported:
    """What was written, and what a person should know about it."""

    title: str
    manifest: Manifest
    reading: Reading


def import_data_set(
    source: Path, out: Path, layout: str | None = None, unpack_to: Path | None = None, with_val: bool = False
) -> Imported:
    """Write the manifest `out` of the data set in `source`: a folder, a CSV table, or a zip or tar.

    An archive is unpacked to `unpack_to`, by default beside it; `with_val` adds MSMT17's validation list to training.
    """
    root, found = find_data_set(opened(source, unpack_to), layouts_named(layout))
    if with_val:
        if not isinstance(found, MSMT17Layout):
            raise DataError(f"--with-val is for MSMT17, but {root} is {found.title}")
        found = replace(found, with_val=True)
    reading = found.read(root)
    manifest = write_manifest(out, hashed(reading.images, root), root, stand_in=mark_of(root) is not None)
    return Imported(found.title, manifest, reading)


def opened(source: Path, unpack_to: Path | None = None) -> Path:
    """Return the folder behind `source`, unpacking it if it is an archive."""
    return unpacked(source, unpack_to) if is_archive(source) else source


def hashed(images: Sequence[FoundImage], root: Path) -> list[ImageRow]:
    """Give each image its key and the SHA-256 of its file.

    A key is split/name, or the path relative to the root for all images when split/name would stand twice.
    """
    keys = [f"{image.split}/{PurePosixPath(image.path).name}" for image in images]
    if len(set(keys)) < len(keys):
        keys = [image.path for image in images]
    # A manifest is UTF-8; hashing a large data set takes long.
    for name in (str(root), *(image.path for image in images)):
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(f"{name!r} is not UTF-8, which manifests are; rename it and import again") from None
    hashes = in_threads(sha256_of, [root / image.path for image in images], "hash")
    return [
        ImageRow(key, image.path, image.split, image.pid, image.camid, sha256)
        for key, image, sha256 in zip(keys, images, hashes, strict=True)
    ]


def in_threads(work: Callable[[Path], _Result], paths: Sequence[Path], title: str) -> list[_Result]:
    """Return `work(path)` of every path in order, with a progress bar."""
    with ThreadPoolExecutor(_THREADS) as pool, progress(len(paths), title, "image") as bar:
        results = []
        for result in pool.map(work, paths):
            results.append(result)
            bar.update()
        return results
