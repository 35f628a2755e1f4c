"""What a layout says about a data set, before any image is opened."""

import errno
import os
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Protocol

from pirt.core.errors import DataError
from pirt.core.files import is_clutter, is_trace
from pirt.core.manifest import Split
from pirt_stages.data.importing.archives import MARK

IMAGE_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("jpg", "jpeg", "jpe", "jfif", "jfi", "jif", "mpo", "png", "apng", "bmp"),
        *("tif", "tiff", "webp", "gif", "ppm", "pgm", "pbm", "pnm"),
    )
)
"""Names of what `pirt.core.images.read_image` reads."""
UNREAD_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("heic", "heif", "avif", "avifs", "jp2", "j2k", "jpx", "jxl", "jxr", "tga", "psd", "svg", "ico", "dds", "exr"),
        *("hdr", "pfm", "pcx", "sgi", "ras", "raw", "cr2", "cr3", "nef", "arw", "orf", "rw2", "dng", "eps", "bpg"),
    )
)
"""Names of images that it does not."""
UNREAD = "a format that is not read; save as JPEG or PNG"
CLUTTER = "hidden or __MACOSX"
_LOOKED_AT = 100_000
"""Files at most, where no data set was found: it may be the whole disk."""


@dataclass(frozen=True)
class FoundImage:
    """An image of the data set; `path` is posix and relative to the data root."""

    path: str
    split: Split
    pid: int
    camid: int


@dataclass(frozen=True)
class Reading:
    """A data set's images in a fixed order, what was passed over, by kind, and remarks.

    Where persons or cameras have names instead of numbers, `names` keeps them by kind ("person", "camera") and number.
    """

    images: list[FoundImage] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    """The first file of each kind that was passed over."""
    remarks: list[str] = field(default_factory=list)
    names: dict[str, dict[int, str]] = field(default_factory=dict)

    def pass_over(self, kind: str, example: object) -> None:
        """Count a file that is not read."""
        self.passed_over[kind] += 1
        self.examples.setdefault(kind, str(example))

    def require(self, *splits: Split, root: Path, title: str) -> "Reading":
        """Raise when one of `splits` has no image."""
        for split in splits:
            if not any(image.split == split for image in self.images):
                raise DataError(f"{root}: the {split} split of {title} has no image with a {title} name{self.odd()}")
        return self

    def odd(self) -> str:
        """Return what was passed over in a few words, in brackets; nothing of nothing."""
        if not self.passed_over:
            return ""
        kinds = ", ".join(f"{count:,} × {self.described(kind)}" for kind, count in self.passed_over.most_common(3))
        return f" ({self.passed_over.total():,} odd files passed over: {kinds})"

    def described(self, kind: str) -> str:
        """Return a kind of what was passed over with its first file."""
        return kind if kind == (example := self.examples[kind]) else f"{kind}, such as {example!r}"


class Layout(Protocol):
    """How one data set lies on the disk."""

    @property
    def name(self) -> str:
        """Name for --layout."""

    @property
    def title(self) -> str:
        """Name as published."""

    @property
    def signs(self) -> str:
        """What to look for, in a few words."""

    def recognises(self, root: Path) -> bool:
        """Say whether `root` is the data root of such a data set."""

    def nearly(self, root: Path) -> str | None:
        """Say what `root`, which is not recognised, has of such a data set and what it lacks; None for nothing."""

    def read(self, root: Path) -> Reading:
        """List the images under `root`."""


NO_SPLITS: Mapping[str, Split | None] = {}


@dataclass(frozen=True)
class _Place:
    """A folder to be entered, the split around it, how deep it lies below that, and whether splits may share it."""

    path: Path
    split: str = ""
    depth: int = 0
    shared: bool = False


def files_in(
    folder: Path, reading: Reading, apart: Mapping[str, Split | None] = NO_SPLITS
) -> Iterator[tuple[PurePosixPath, Path]]:
    """Yield (path relative to `folder`, path) of the image files below `folder`, sorted; count the others.

    Folders of different splits, by the names in `apart`, in small letters, may link to the same images.
    """
    found = [(PurePosixPath(path.relative_to(folder).as_posix()), path) for path in _walk(folder, reading, apart)]
    # By folder and then by name: as texts, a.b/1.jpg would come before a/1.jpg.
    for relative, path in sorted(found, key=lambda pair: pair[0].parts):
        suffix = relative.suffix.lower()
        if relative.name == MARK or any(map(is_trace, relative.parts)):  # ours, such as the lock of this import
            continue
        if any(is_clutter(part) or part.startswith(".") for part in relative.parts):
            reading.pass_over(CLUTTER, relative)
        elif not path.exists():
            reading.pass_over("links to nothing", relative)
        elif not path.is_file():
            reading.pass_over("neither file nor folder", relative)
        elif suffix in UNREAD_SUFFIXES:
            reading.pass_over(f"*{suffix} ({UNREAD})", relative)
        elif suffix not in IMAGE_SUFFIXES:
            reading.pass_over(f"*{relative.suffix}" if suffix else "files without a suffix", relative)
        else:
            yield relative, path


def unread_in(folder: Path) -> str:
    """Say in brackets what images there are below `folder` of formats that are not read; nothing of none."""
    kinds = Counter[str]()
    with suppress(DataError):  # a folder that cannot be listed is reported where it is read
        for path in islice(_walk(folder, Reading()), _LOOKED_AT):
            if (suffix := path.suffix.lower()) in UNREAD_SUFFIXES and not is_clutter(path.name):
                kinds[f"*{suffix} ({UNREAD})"] += 1
    return f" ({', '.join(f'{count:,} × {kind}' for kind, count in kinds.most_common())})" if kinds else ""


def has_image(folder: Path) -> bool:
    """Say whether there is an image file below `folder`."""
    return any(True for _ in images_below(folder))


def images_below(folder: Path) -> Iterator[PurePosixPath]:
    """Yield the paths relative to `folder` of what looks like images below it, as they come."""
    if folder.is_dir():
        for path in _walk(folder, Reading()):
            if path.suffix.lower() in IMAGE_SUFFIXES and not is_clutter(path.name):
                yield PurePosixPath(path.relative_to(folder).as_posix())


def _walk(folder: Path, reading: Reading, apart: Mapping[str, Split | None] = NO_SPLITS) -> Iterator[Path]:
    """Yield what is below `folder` and not a folder, through links too.

    Every folder is entered once, and `folder` and those above it never again, so links in circles end. Links come last:
    what lies here keeps the path it has here. Folders that stand for different splits, by the names in `apart`, may be
    links, or hold links, to the same folders.
    """
    # A link to a folder above would come back to this one.
    above = {_identity(place) for place in folder.resolve().parents}
    entered, within = set[tuple[int, int]](), set[tuple[str, tuple[int, int]]]()
    ahead, links = deque([_Place(folder)]), deque[_Place]()
    while ahead or links:
        place = ahead.popleft() if ahead else links.popleft()
        identity = _identity(place.path)
        there = (place.split, identity) in within if place.shared else identity in entered
        if there or identity in above:
            reading.pass_over("links to a folder that is read elsewhere", place.path.relative_to(folder))
            continue
        entered.add(identity)
        within.add((place.split, identity))
        if place.path == folder:
            above.add(identity)
        for entry in _listed(place.path):
            if not _is_folder(entry):
                yield Path(entry)
                continue
            name = entry.name.lower()
            split, depth = place.split, place.depth + 1
            if name in apart:  # perhaps within another such name, of a folder around all
                split, depth = f"{split}/{apart[name] or name}", 0
            linked = entry.is_symlink()
            shared = place.shared
            if linked:
                # One from deeper down into another split may lead to another person.
                shared = bool(split) and (depth <= 1 or not Path(entry).resolve().is_relative_to(folder.resolve()))
            (links if linked else ahead).append(_Place(Path(entry), split, depth, shared))


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        # Its entries know what they are, so that a large data set is not asked file by file.
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror}; get read permission, or remove it") from error


def is_there(path: Path) -> bool:
    """Say whether `path` is a file, which a name that is too long for a file is not."""
    try:
        return path.is_file()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def folder_named(root: Path, name: str) -> Path | None:
    """Return the folder of this name in `root`, however it is capitalised."""
    try:
        if (root / name).is_dir():
            return root / name
        alike = sorted(entry for entry in root.iterdir() if entry.name.lower() == name.lower())
    except OSError:  # not a folder, or one that cannot be listed, which is reported when it is read
        return None
    return next((entry for entry in alike if entry.is_dir()), None)


def refuse_alike(root: Path, *names: str) -> None:
    """Raise where two folders with images have one of `names`, in other capitals: one of them would go unread."""
    for name in names:
        there = [folder for folder in subfolders(root) if folder.name.lower() == name.lower() and has_image(folder)]
        # Resolved, since a link to the other one is no second folder.
        alike = {folder.resolve(): folder.name for folder in there}
        if len(alike) > 1:
            raise DataError(
                f"{root} has folders {' and '.join(sorted(alike.values()))}, which are one on some systems; put their "
                "images into one of them, or rename the other"
            )


def lack_of(root: Path, name: str) -> str:
    """Say that `root` has no folder of this name, and where it has a link instead that it leads to nothing."""
    return f"no folder {name!r}{', but a link of that name to nothing' if (root / name).is_symlink() else ''}"


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in `folder`, sorted, without hidden ones and __MACOSX."""
    return [
        Path(entry) for entry in _listed(folder) if _is_folder(entry) and not entry.name.startswith((".", "__MACOSX"))
    ]
