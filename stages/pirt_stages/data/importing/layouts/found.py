"""What a layout says about a data set, before any image is opened."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from pirt.core.errors import DataError
from pirt.core.manifest import Split

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class FoundImage:
    """An image of the data set; `path` is posix and relative to the data root."""

    path: str
    split: Split
    pid: int
    camid: int


@dataclass(frozen=True)
class Reading:
    """A data set's images in a fixed order, the odd files passed over (by name or suffix), and remarks."""

    images: list[FoundImage] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)

    def require(self, *splits: Split, root: Path, title: str) -> "Reading":
        """Raise when one of `splits` has no image."""
        for split in splits:
            if not any(image.split == split for image in self.images):
                odd = f" ({sum(self.passed_over.values())} odd files passed over)" if self.passed_over else ""
                raise DataError(f"{root}: the {split} split of {title} has no image with a {title} name{odd}")
        return self


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

    def read(self, root: Path) -> Reading:
        """List the images under `root`."""


def files_in(folder: Path, reading: Reading) -> Iterator[tuple[PurePosixPath, Path]]:
    """Yield (path relative to `folder`, path) of the image files below `folder`, sorted; count the others."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            continue
        relative = PurePosixPath(path.relative_to(folder).as_posix())
        if "__MACOSX" in relative.parts or relative.name.startswith("."):
            reading.passed_over["hidden or __MACOSX"] += 1
        elif relative.suffix.lower() not in IMAGE_SUFFIXES:
            reading.passed_over[relative.name if relative.suffix.lower() == ".db" else f"*{relative.suffix}"] += 1
        else:
            yield relative, path


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in `folder`, sorted, without hidden ones and __MACOSX."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror}") from error
    return [path for path in entries if path.is_dir() and not path.name.startswith((".", "__MACOSX"))]
