"""Recipe: a data set becomes a manifest; its images stay where they are."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pirt.core.errors import DataError
from pirt.core.files import require_apart, sha256_of
from pirt.core.manifest import ImageRow, Manifest, require_inside, written_manifest
from pirt.core.pids import DISTRACTOR_PID
from pirt.progress import progress
from pirt_stages.data.importing.archives import assumed_of, is_archive, place_of_files, unpacked
from pirt_stages.data.importing.layouts import LOOK, Choice, as_chosen, find_data_set, layouts_named
from pirt_stages.data.importing.layouts.found import FoundImage, Reading
from pirt_stages.data.importing.layouts.numbering import alike
from pirt_stages.data.importing.marks import mark_of
from pirt_stages.data.importing.names import keep_names, require_place

_THREADS = 8  # more than cores: they wait for the disk, and hash outside of Python's lock
_AT_A_TIME = 4096
_ALIKE_SHOWN = 5
_SPREADSHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".numbers")
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Imported:
    """What was written, and what a person should know about it."""

    title: str
    manifest: Manifest
    reading: Reading


def import_data_set(
    source: Path, out: Path, choice: Choice = LOOK, unpack_to: Path | None = None, encoding: str | None = None
) -> Imported:
    """Write the manifest `out` of the data set in `source`: a folder, a CSV table, or a zip or tar.

    An archive is unpacked to `unpack_to`, by default beside it; `encoding` is that of its file names where they do not
    say theirs. Names of persons and cameras are kept beside `out`.
    """
    require_apart(out, source)
    require_place(out)
    with ExitStack() as files:
        opened = files.enter_context(open_source(source, out, unpack_to, encoding))
        root, found = find_data_set(opened.place, layouts_named(choice.layout))
        reading = as_chosen(found, choice, root).read(root)
        reading.remarks.extend(opened.remarks)
        for what, names in reading.names.items():
            reading.remarks.extend(
                f"{what}s {one!r} and {other!r}, which differ in capitals only, are two"
                for one, other in alike(names.values())[:_ALIKE_SHOWN]
            )
        images = reading.images
        if choice.pids_from_zero:
            if "person" in reading.names:
                raise DataError(f"--pids-from-zero is for numbers, but {source} has names of persons; leave it out")
            # Junk stays junk.
            images[:] = [replace(image, pid=image.pid + (image.pid >= 0)) for image in images]
            reading.remarks.append("pids are those of the data set + 1")
        require_persons(images, root)
        manifest = write_import(out, reading, root, opened.lasting(root), opened.mark_of(root) is not None, files)
    return Imported(found.title, manifest, reading)


def write_import(out: Path, reading: Reading, root: Path, lasting: Path, stand_in: bool, files: ExitStack) -> Manifest:
    """Write the manifest `out` and its names, of images in `root` that lie in `lasting` once `files` is closed.

    The mark of a stand-in goes into the fingerprint, so that every result carries it, and published numbers never stand
    beside it.
    """
    rows = hashed(reading.images, root)
    with keep_names(out, reading.names), written_manifest(out, rows, lasting, stand_in) as manifest:
        # Once all is written, and first: a folder may be refused its place, a file hardly.
        files.close()
    return manifest


def require_outside(out: Path, folder: Path, content: str) -> None:
    """Raise DataError where the manifest `out` would lie in a folder that is written, and replaced, whole."""
    if out.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"--out {out} lies in {folder}, which is to hold {content} alone; name a place outside of it")


def require_persons(
    images: Sequence[FoundImage],
    root: Path,
    fix: str = "if persons are numbered from 0, number them from 1 with --pids-from-zero",
) -> None:
    """Raise where a query or training image has pid 0, and so would be of nobody."""
    counts = Counter(image.split for image in images if image.pid == 0 and image.split != "gallery")
    if counts:
        said = " and ".join(f"{count:,} {split} images" for split, count in counts.items())
        raise DataError(
            f"{said} of {root} have pid {DISTRACTOR_PID}, which means a distractor that matches nobody; {fix}"
        )


@dataclass(frozen=True)
class Opened:
    """Where a data set is read, where that will lie, and remarks on how an archive was read."""

    place: Path
    last_place: Path
    remarks: list[str]

    def lasting(self, root: Path) -> Path:
        """Return where the data root `root` will lie."""
        return root if self.place == self.last_place else self.last_place / root.relative_to(self.place)

    def mark_of(self, root: Path) -> Path | None:
        """Return the mark of a stand-in, which may lie beside the folder that an archive is unpacked to."""
        return mark_of(root, self.last_place.parent if root == self.place else None)


@contextmanager
def open_source(source: Path, out: Path, unpack_to: Path | None, encoding: str | None) -> Iterator[Opened]:
    """Yield what `source` holds, unpacked if it is an archive: see `unpacked`; `out` is the manifest."""
    if source.is_file() and source.suffix.lower() in _SPREADSHEETS:  # most of which are zips
        raise DataError(f"{source} is a file of a spreadsheet program; save it as 'CSV UTF-8' and import that")
    if not is_archive(source):
        if unpack_to is not None or encoding is not None:
            option = "--archive-names" if unpack_to is None else "--unpack-to"
            raise DataError(f"{source} is not a zip or tar, so {option} means nothing; leave it out")
        yield Opened(source, source, [])
        return
    require_outside(out, place_of_files(source, unpack_to), f"the files of {source}")
    with unpacked(source, unpack_to, encoding=encoding) as (place, last_place):
        assumed = assumed_of(place)
        yield Opened(place, last_place, [] if assumed is None else [assumed])


def hashed(images: Sequence[FoundImage], root: Path) -> list[ImageRow]:
    """Give each image its key and the SHA-256 of its file.

    A key is split/name; where that would stand twice, all keys are paths relative to the root, or split/path where an
    image is in two splits.
    """
    keys = _keys(images, root)
    # Before hashing too.
    for name in (str(root), *(image.path for image in images)):
        try:
            name.encode()
        except UnicodeEncodeError:
            if (encoding := sys.getfilesystemencoding()) != "utf-8":
                raise DataError(
                    f"{name!r} has letters that this Python, which reads names as {encoding}, does not know; unset "
                    "PYTHONUTF8 or set it to 1"
                ) from None
            raise DataError(f"{name!r} is not UTF-8, which manifests are; rename it and import again") from None
    for image in images:
        if "\\" in image.path:  # as unpackers leave the folders of a zip from Windows
            raise DataError(f"{image.path!r} has a backslash in its name, not a folder; rename it and import again")
        require_inside(image.path)
    hashes = in_threads(sha256_of, [root / image.path for image in images], "hash")
    return [
        ImageRow(key, image.path, image.split, image.pid, image.camid, sha256)
        for key, image, sha256 in zip(keys, images, hashes, strict=True)
    ]


def _keys(images: Sequence[FoundImage], root: Path) -> list[str]:
    ways: tuple[Callable[[FoundImage], str], ...] = (
        lambda image: f"{image.split}/{PurePosixPath(image.path).name}",
        lambda image: image.path,
        lambda image: f"{image.split}/{image.path}",
    )
    for way in ways:
        keys = [way(image) for image in images]
        if len(set(keys)) == len(keys):
            return keys
    twice = next(key for key, count in Counter(keys).items() if count > 1)
    split, _, path = twice.partition("/")
    raise DataError(f"image {path!r} of {root} appears twice in the {split} split; list it once")


def in_threads(work: Callable[[_Item], _Result], items: Sequence[_Item], title: str) -> list[_Result]:
    """Return `work(item)` of every item in order, with a progress bar."""
    with ThreadPoolExecutor(_THREADS) as pool, progress(len(items), title, "image") as bar:
        results = []
        # Some at a time, since what waits in a pool takes more memory than what came out of it.
        for first in range(0, len(items), _AT_A_TIME):
            for result in pool.map(work, items[first : first + _AT_A_TIME]):
                results.append(result)
                bar.update()
        return results
