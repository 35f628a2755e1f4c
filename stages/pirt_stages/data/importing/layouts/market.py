"""Market-1501, DukeMTMC-reID and Occluded-DukeMTMC: three folders, identity and camera in the file name."""

import re
from dataclasses import dataclass
from pathlib import Path

from pirt.core.errors import DataError
from pirt.core.manifest import Split
from pirt_stages.data.importing.layouts.found import FoundImage, Reading, files_in

FOLDERS: dict[Split, str] = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}

MARKET_NAME = re.compile(r"(-1|\d+)_c(\d+)s\d+_\d+_\d+(?:\.jpg)?\.\w+", re.IGNORECASE)
DUKE_NAME = re.compile(r"(\d+)_c(\d+)_f\d+\.\w+", re.IGNORECASE)


@dataclass(frozen=True)
class MarketLayout:
    """The three folders, with names of one kind.

    `occluded` says whether the root's own name must or must not say so; nothing else tells Duke's re-split apart.
    """

    name: str
    title: str
    pattern: re.Pattern[str]
    others: re.Pattern[str]
    occluded: bool | None = None

    @property
    def signs(self) -> str:
        """What to look for."""
        return f"folders {', '.join(FOLDERS.values())}"

    def recognises(self, root: Path) -> bool:
        """Say whether the folders are there and hold names of this kind."""
        if not any((root / folder).is_dir() for folder in FOLDERS.values()):
            return False
        if self.occluded is not None and self.occluded != ("occluded" in root.resolve().name.lower()):
            return False
        return any(self._has_names(root / folder) for folder in FOLDERS.values())

    def _has_names(self, folder: Path) -> bool:
        return folder.is_dir() and any(self.pattern.fullmatch(path.name) for path in folder.iterdir())

    def read(self, root: Path) -> Reading:
        """List the images of the three folders."""
        reading = Reading()
        for split, folder in FOLDERS.items():
            if not (root / folder).is_dir():
                raise DataError(f"{root} looks like {self.title} but has no folder {folder!r}")
            for relative, _ in files_in(root / folder, reading):
                if self.others.fullmatch(relative.name):
                    raise DataError(
                        f"{root / folder} mixes names of two data sets, {relative.name!r} is not one of {self.title}; "
                        "keep each data set in a folder of its own"
                    )
                if match := self.pattern.fullmatch(relative.name):
                    path = f"{folder}/{relative}"
                    reading.images.append(FoundImage(path, split, int(match[1]), int(match[2])))
                else:
                    reading.passed_over[f"{relative.name} (name not understood)"] += 1
        return reading.require(*FOLDERS, root=root, title=self.title)


MARKET1501 = MarketLayout("market1501", "Market-1501", MARKET_NAME, DUKE_NAME)
DUKEMTMC_REID = MarketLayout("dukemtmc_reid", "DukeMTMC-reID", DUKE_NAME, MARKET_NAME, occluded=False)
OCCLUDED_DUKEMTMC = MarketLayout("occluded_dukemtmc", "Occluded-DukeMTMC", DUKE_NAME, MARKET_NAME, occluded=True)
