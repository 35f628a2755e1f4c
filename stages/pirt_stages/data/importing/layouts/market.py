"""Market-1501, DukeMTMC-reID, Occluded-DukeMTMC, CUHK03-NP: three folders, identity and camera in the file name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath

from pirt.core.errors import DataError
from pirt.core.manifest import Split
from pirt_stages.data.importing.layouts.found import (
    FoundImage,
    Reading,
    files_in,
    folder_named,
    images_below,
    lack_of,
    refuse_alike,
)

FOLDERS: dict[Split, str] = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}

# Some copies have names that end in .jpg.jpg.
MARKET_NAME = re.compile(r"(-1|\d+)_c(\d+)s\d+_\d+_\d+(?:\.jpg)?\.\w+", re.IGNORECASE)
DUKE_NAME = re.compile(r"(\d+)_c(\d+)_f\d+\.\w+", re.IGNORECASE)
CUHK03_NAME = re.compile(r"(\d+)_c(\d+)_\d+\.\w+", re.IGNORECASE)
_NAMES = (MARKET_NAME, DUKE_NAME, CUHK03_NAME)


@dataclass(frozen=True)
class MarketLayout:
    """The three folders, with names of one kind, at any depth.

    `occluded` says whether the root's own name must or must not say so; nothing else tells Duke's re-split apart.
    """

    name: str
    title: str
    pattern: re.Pattern[str]
    example: str
    occluded: bool | None = None

    @property
    def signs(self) -> str:
        """What to look for."""
        return f"folders {', '.join(FOLDERS.values())} with {self.example}"

    def recognises(self, root: Path) -> bool:
        """Say whether the folders are there and hold names of this kind."""
        if not _has_folders(root):
            return False
        # Resolved, since `.` has no name.
        if self.occluded is not None and self.occluded != ("occluded" in root.resolve().name.lower()):
            return False
        return any(self.pattern.fullmatch(path.name) for path in _images(root))

    def nearly(self, root: Path) -> str | None:
        """Say that the folders are there and the names are others."""
        # Occluded-DukeMTMC has the folders and names of DukeMTMC-reID, whose layout says the same.
        if not _has_folders(root) or self.occluded:
            return None
        other = next((path.name for path in _images(root)), None)
        found = "no image" if other is None else f"names like {other!r}"
        return f"the folders of {self.title}, but {found} where {self.example} is expected"

    def read(self, root: Path) -> Reading:
        """List the images of the three folders."""
        reading = Reading()
        refuse_alike(root, *FOLDERS.values())
        for split, name in FOLDERS.items():
            folder = folder_named(root, name)
            if folder is None:
                raise DataError(f"{root} looks like {self.title} but has {lack_of(root, name)}")
            for relative, _ in files_in(folder, reading):
                path = f"{folder.name}/{relative}"
                if match := self.pattern.fullmatch(relative.name):
                    reading.images.append(FoundImage(path, split, int(match[1]), int(match[2])))
                elif any(pattern.fullmatch(relative.name) for pattern in _NAMES):
                    raise DataError(
                        f"{folder} mixes names of two data sets, {relative.name!r} is not one of {self.title}; "
                        "keep each data set in a folder of its own"
                    )
                else:
                    reading.pass_over(f"names that are not of {self.title}", path)
        return reading.require(*FOLDERS, root=root, title=self.title)


def _has_folders(root: Path) -> bool:
    # One is enough: `read` says which other is missing.
    return any(folder_named(root, name) for name in FOLDERS.values())


def _images(root: Path) -> Iterator[PurePosixPath]:
    folders = filter(None, (folder_named(root, name) for name in FOLDERS.values()))
    return chain.from_iterable(map(images_below, folders))


_DUKE_EXAMPLE = "0001_c2_f0046182.jpg"
MARKET1501 = MarketLayout("market1501", "Market-1501", MARKET_NAME, "0001_c1s1_001051_00.jpg")
DUKEMTMC_REID = MarketLayout("dukemtmc_reid", "DukeMTMC-reID", DUKE_NAME, _DUKE_EXAMPLE, occluded=False)
OCCLUDED_DUKEMTMC = MarketLayout("occluded_dukemtmc", "Occluded-DukeMTMC", DUKE_NAME, _DUKE_EXAMPLE, occluded=True)
CUHK03_NP = MarketLayout("cuhk03_np", "CUHK03-NP", CUHK03_NAME, "0001_c1_1.png")
