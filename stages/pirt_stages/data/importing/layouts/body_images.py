"""Occluded-REID, Partial-REID, Partial-iLIDS and P-DukeMTMC-reID: folders of occluded and of whole bodies."""

import re
from dataclasses import dataclass
from pathlib import Path

from pirt.core.errors import DataError
from pirt.core.manifest import Split
from pirt_stages.data.importing.layouts.found import (
    FoundImage,
    Reading,
    files_in,
    folder_named,
    has_image,
    images_below,
    lack_of,
    refuse_alike,
)
from pirt_stages.data.importing.layouts.market import DUKE_NAME

PARTIAL, OCCLUDED, WHOLE = "partial_body_images", "occluded_body_images", "whole_body_images"
NO_CAMERAS = "no camera labels: queries are given camera 0, gallery images camera 1"
PROBES = {"partial": PARTIAL, "occluded": OCCLUDED, "probe": "Probe"}
"""By the name that --probe takes, the folders that hold queries."""


@dataclass(frozen=True)
class BodyImagesLayout:
    """Occluded or partial bodies are the queries, whole ones the gallery; there are no cameras and no training set."""

    name: str
    title: str
    pattern: re.Pattern[str]
    """Matches a path inside either folder; its first group is the identity."""
    example: str
    sides: tuple[tuple[str, str], ...] = ((OCCLUDED, WHOLE),)
    """The folders of queries and gallery under which it is known; of several that are there the first is taken."""
    probe: str | None = None
    """The folder of queries that was asked for, a name of `PROBES`."""

    @property
    def signs(self) -> str:
        """What to look for."""
        return f"folders {' or '.join(f'{query} and {gallery}' for query, gallery in self.sides)} with {self.example}"

    def recognises(self, root: Path) -> bool:
        """Say whether both folders are there and a name of the first is of this kind."""
        return any(
            self.pattern.fullmatch(str(relative)) for query, _ in self._there(root) for relative in images_below(query)
        )

    def nearly(self, root: Path) -> str | None:
        """Say that the folders are there and the names are others, or that one of the two is missing."""
        if there := self._there(root):
            other = next((str(path) for query, _ in there for path in images_below(query)), None)
            found = "no image" if other is None else f"names like {other!r}"
            return f"the folders of {self.title}, but {found} where {self.example} is expected"
        for query, gallery in self.sides:
            if (folder_named(root, query) is None) != (folder_named(root, gallery) is None):
                missing = query if folder_named(root, query) is None else gallery
                return f"one folder of {self.title}, but {lack_of(root, missing)} beside it"
        return None

    def read(self, root: Path) -> Reading:
        """List the images of both folders."""
        refuse_alike(root, *(name for side in self.sides for name in side))
        queries, gallery = self._chosen(root)
        reading = Reading(remarks=[NO_CAMERAS, f"queries are those of {queries.name}"])
        others = [query for query, _ in self._there(root) if query != queries and has_image(query)]
        names = {folder.lower(): name for name, folder in PROBES.items()}
        reading.remarks.extend(
            f"{other.name} is left out; --probe {names[other.name.lower()]} takes it instead" for other in others
        )
        # Two cameras, since the protocol leaves out matches by the query's own.
        sides: tuple[tuple[Split, Path, int], ...] = (("query", queries, 0), ("gallery", gallery, 1))
        for split, folder, camid in sides:
            for relative, _ in files_in(folder, reading):
                path = f"{folder.name}/{relative}"
                if match := self.pattern.fullmatch(str(relative)):
                    reading.images.append(FoundImage(path, split, int(match[1]), camid))
                else:
                    reading.pass_over(f"names that are not of {self.title}", path)
        return reading.require("query", "gallery", root=root, title=self.title)

    def _there(self, root: Path) -> list[tuple[Path, Path]]:
        pairs = [(folder_named(root, query), folder_named(root, gallery)) for query, gallery in self.sides]
        return [(query, gallery) for query, gallery in pairs if query is not None and gallery is not None]

    def _chosen(self, root: Path) -> tuple[Path, Path]:
        there = self._there(root)
        if self.probe is None and there:
            # An empty folder of the one kind does not hide queries of the other.
            return next((pair for pair in there if has_image(pair[0])), there[0])
        for query, gallery in there:
            if self.probe is not None and query.name.lower() == PROBES[self.probe].lower():
                return query, gallery
        raise DataError(
            f"{root} has no folder {PROBES[self.probe or 'occluded']} with a gallery beside it; it has "
            f"{', '.join(query.name for query, _ in there) or 'none'}"
        )


@dataclass(frozen=True)
class PDukeLayout:
    """P-DukeMTMC-reID: train and test, in each the two folders, in each one folder per identity; names as Duke's."""

    name: str = "p_dukemtmc_reid"
    title: str = "P-DukeMTMC-reID"
    signs: str = f"folders train and test, each with {OCCLUDED} and {WHOLE}"

    def recognises(self, root: Path) -> bool:
        """Say whether the folders of one half are there."""
        return any(_place(root, half, OCCLUDED) and _place(root, half, WHOLE) for half in ("train", "test"))

    def nearly(self, root: Path) -> str | None:
        """Say that a half has one of its folders only."""
        for half in ("train", "test"):
            if _place(root, half, OCCLUDED) or _place(root, half, WHOLE):
                return f"{half!r} as in {self.title}, but without both {OCCLUDED} and {WHOLE} in it"
        return None

    def read(self, root: Path) -> Reading:
        """List the images: all of train, and the occluded (query) and whole (gallery) ones of test."""
        reading = Reading()
        places: tuple[tuple[Split, str, str], ...] = (
            ("train", "train", WHOLE),
            ("train", "train", OCCLUDED),
            ("query", "test", OCCLUDED),
            ("gallery", "test", WHOLE),
        )
        refuse_alike(root, "train", "test")
        for split, half, side in places:
            place = _place(root, half, side)
            if place is None:
                raise DataError(f"{root} looks like {self.title} but has {lack_of(root, f'{half}/{side}')}")
            refuse_alike(place.parent, side)
            for relative, _ in files_in(place, reading):
                # The folder says who it is; of the name, which is Duke's, only the camera is taken.
                identity, match = relative.parts[0], DUKE_NAME.fullmatch(relative.name)
                path = f"{place.relative_to(root).as_posix()}/{relative}"
                if match and len(relative.parts) == 2 and identity.isdecimal():
                    reading.images.append(FoundImage(path, split, int(identity), int(match[2])))
                else:
                    reading.pass_over(f"names that are not of {self.title}", path)
        return reading.require("train", "query", "gallery", root=root, title=self.title)


def _place(root: Path, half: str, side: str) -> Path | None:
    folder = folder_named(root, half)
    return None if folder is None else folder_named(folder, side)


OCCLUDED_REID = BodyImagesLayout(
    "occluded_reid", "Occluded-REID", re.compile(r"(\d+)/\1_\d+\.\w+", re.IGNORECASE), "001/001_01.tif"
)
PARTIAL_REID = BodyImagesLayout(
    "partial_reid",
    "Partial-REID",
    re.compile(r"(\d+)_\d+\.\w+"),
    "001_01.jpg",
    sides=((PARTIAL, WHOLE), (OCCLUDED, WHOLE)),
)
PARTIAL_ILIDS = BodyImagesLayout(
    "partial_ilids",
    "Partial-iLIDS",
    re.compile(r"(\d+)\.\w+"),
    "001.jpg",
    sides=((OCCLUDED, WHOLE), ("Probe", "Gallery")),
)
P_DUKEMTMC_REID = PDukeLayout()
