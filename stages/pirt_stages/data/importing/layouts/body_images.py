"""Occluded-REID, Partial-REID, Partial-iLIDS and P-DukeMTMC-reID: folders of occluded and of whole bodies."""

import re
from dataclasses import dataclass
from pathlib import Path

from pirt.core.errors import DataError
from pirt.core.manifest import Split
from pirt_stages.data.importing.layouts.found import FoundImage, Reading, files_in
from pirt_stages.data.importing.layouts.market import DUKE_NAME

OCCLUDED, WHOLE = "occluded_body_images", "whole_body_images"
NO_CAMERAS = "no camera labels: queries are given camera 0, gallery images camera 1"


@dataclass(frozen=True)
class BodyImagesLayout:
    """Occluded bodies are the queries, whole ones the gallery; there are neither cameras nor a training set."""

    name: str
    title: str
    pattern: re.Pattern[str]
    """Matches a path inside either folder; its first group is the identity."""
    example: str

    @property
    def signs(self) -> str:
        """What to look for."""
        return f"folders {OCCLUDED} and {WHOLE} with {self.example}"

    def recognises(self, root: Path) -> bool:
        """Say whether both folders are there and the names of the first are of this kind."""
        if not ((root / OCCLUDED).is_dir() and (root / WHOLE).is_dir()):
            return False
        return any(self.pattern.fullmatch(str(relative)) for relative, _ in files_in(root / OCCLUDED, Reading()))

    def read(self, root: Path) -> Reading:
        """List the images of both folders."""
        reading = Reading(remarks=[NO_CAMERAS])
        sides: tuple[tuple[Split, str, int], ...] = (("query", OCCLUDED, 0), ("gallery", WHOLE, 1))
        for split, folder, camid in sides:
            for relative, _ in files_in(root / folder, reading):
                if match := self.pattern.fullmatch(str(relative)):
                    path = f"{folder}/{relative}"
                    reading.images.append(FoundImage(path, split, int(match[1]), camid))
                else:
                    reading.passed_over[f"{relative} (name not understood)"] += 1
        return reading.require("query", "gallery", root=root, title=self.title)


@dataclass(frozen=True)
class PDukeLayout:
    """P-DukeMTMC-reID: train and test, in each the two folders, in each a folder an identity; names as Duke's."""

    name: str = "p_dukemtmc_reid"
    title: str = "P-DukeMTMC-reID"
    signs: str = f"folders train and test, each with {OCCLUDED} and {WHOLE}"

    def recognises(self, root: Path) -> bool:
        """Say whether the folders of both halves are there."""
        return any((root / half / OCCLUDED).is_dir() and (root / half / WHOLE).is_dir() for half in ("train", "test"))

    def read(self, root: Path) -> Reading:
        """List the images: all of train, and the occluded (query) and whole (gallery) ones of test."""
        reading = Reading()
        places: tuple[tuple[Split, str], ...] = (
            ("train", f"train/{WHOLE}"),
            ("train", f"train/{OCCLUDED}"),
            ("query", f"test/{OCCLUDED}"),
            ("gallery", f"test/{WHOLE}"),
        )
        for split, place in places:
            if not (root / place).is_dir():
                raise DataError(f"{root} looks like {self.title} but has no folder {place!r}")
            for relative, _ in files_in(root / place, reading):
                identity, match = relative.parts[0], DUKE_NAME.fullmatch(relative.name)
                if match and len(relative.parts) == 2 and identity.isdecimal():
                    path = f"{place}/{relative}"
                    reading.images.append(FoundImage(path, split, int(identity), int(match[2])))
                else:
                    reading.passed_over[f"{relative} (name not understood)"] += 1
        return reading.require("train", "query", "gallery", root=root, title=self.title)


OCCLUDED_REID = BodyImagesLayout(
    "occluded_reid", "Occluded-REID", re.compile(r"(\d+)/\1_\d+\.\w+", re.IGNORECASE), "001/001_01.tif"
)
PARTIAL_REID = BodyImagesLayout("partial_reid", "Partial-REID", re.compile(r"(\d+)_\d+\.\w+"), "001_01.jpg")
PARTIAL_ILIDS = BodyImagesLayout("partial_ilids", "Partial-iLIDS", re.compile(r"(\d+)\.\w+"), "001.jpg")
P_DUKEMTMC_REID = PDukeLayout()
