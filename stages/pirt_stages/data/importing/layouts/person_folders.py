"""Own data: a folder for each person, perhaps one for each camera in it or above, split by identity or by folders."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pirt.core.errors import DataError
from pirt.core.manifest import SPLITS, Split
from pirt_stages.data.importing.layouts.body_images import NO_CAMERAS
from pirt_stages.data.importing.layouts.found import FoundImage, Reading, files_in, has_image, subfolders
from pirt_stages.data.importing.layouts.numbering import composed, numbered

LEVELS = ("split", "person", "camera", "*")
SPLIT_FOLDERS: dict[str, Split | None] = {
    "train": "train",
    "bounding_box_train": "train",
    "query": "query",
    "probe": "query",
    "gallery": "gallery",
    "bounding_box_test": "gallery",
    "test": None,
}
"""What the folders of a level `split` hold, by their names in small letters; from `test`, queries are drawn."""
_LIKE_SPLITS = frozenset(
    (
        "training",
        "trainval",
        "train_val",
        "train_all",
        "val",
        "valid",
        "validation",
        "dev",
        "testing",
        "queries",
        "probes",
    )
)
"""What others call their splits: where all folders have such names, they are not persons."""
_LIKE_CAMERAS = re.compile(
    r"c\d{1,3}(?:s\d{1,3})?|(?:cam|camera|kamera|caméra|cámara|câmera|view)(?:[\s_-]*\d{1,3}|[\s_-]*[a-z]|[\s_-]+\w+)",
    re.IGNORECASE,
)
"""Names of cameras: where most outer folders have such names and inner ones have not, they are not persons."""


@dataclass(frozen=True)
class Shares:
    """How persons are split: a share of them is for training; of the others, a share of the images are queries."""

    seed: int = 0
    train: float = 0.5
    query: float = 0.25


@dataclass(frozen=True)
class PersonFoldersLayout:
    """Folders whose names are persons and cameras; what they and the images are called does not matter."""

    name: str = "person-folders"
    title: str = "persons in folders"
    signs: str = "a folder for each person, with images or a folder for each camera in it"
    levels: tuple[str, ...] | None = None
    """What each level of folders stands for, of `LEVELS`; None looks how deep the images lie."""
    shares: Shares = Shares()

    def recognises(self, root: Path) -> bool:
        """Say whether there are folders with images."""
        return any(has_image(folder) for folder in subfolders(root))

    def nearly(self, root: Path) -> str | None:
        """Say that the images lie in no folder."""
        return "images, but no folders of persons with images in them" if has_image(root) else None

    def read(self, root: Path) -> Reading:
        """List the images; persons and cameras are numbered in the order of their names."""
        reading = Reading()
        paths = [relative for relative, _ in files_in(root, reading, SPLIT_FOLDERS)]
        levels = self.levels or _levels_of(paths, root)
        kept = []
        for path in paths:
            if len(path.parts) <= len(levels):
                reading.pass_over(f"images above the folders {'/'.join(levels)}", path)
            elif "split" in levels and path.parts[levels.index("split")].lower() not in SPLIT_FOLDERS:
                reading.pass_over(f"images in none of the folders {', '.join(SPLIT_FOLDERS)}", path)
            else:
                kept.append(path)
        if not kept:
            odd = reading.odd()
            raise DataError(
                f"{root} has no image below folders {'/'.join(levels)}{odd}; say what they are with --levels"
            )
        # Persons are compared in one spelling; paths stay as the disk has them.
        names = [PurePosixPath(composed(str(path))) for path in kept]
        persons = [name.parts[levels.index("person")] for name in names]
        cameras = [name.parts[levels.index("camera")] if "camera" in levels else "" for name in names]
        splits = self._splits(levels, names, list(zip(persons, cameras, map(str, names), strict=True)))
        pids, camids = numbered(persons), numbered(cameras)
        with_cameras = "camera" in levels
        for path, person, camera, split in zip(kept, persons, cameras, splits, strict=True):
            # Without cameras the gallery has another one than queries, whose own the protocol leaves out.
            camid = camids[camera] if with_cameras else int(split == "gallery")
            reading.images.append(FoundImage(str(path), split, pids[person], camid))
        reading.names["person"] = {number: name for name, number in pids.items()}
        if with_cameras:
            reading.names["camera"] = {number: name for name, number in camids.items()}
        reading.remarks.extend(self._remarks(reading, levels))
        return reading

    def _splits(
        self, levels: Sequence[str], names: Sequence[PurePosixPath], images: Sequence[tuple[str, str, str]]
    ) -> list[Split]:
        if "split" not in levels:
            return split_by_person(images, self.shares)
        given = [SPLIT_FOLDERS[name.parts[levels.index("split")].lower()] for name in names]
        tested = [image for image, split in zip(images, given, strict=True) if split is None]
        # Whoever lies in a folder `test` is not for training.
        drawn = iter(split_by_person(tested, replace(self.shares, train=0.0)))
        return [next(drawn) if split is None else split for split in given]

    def _remarks(self, reading: Reading, levels: Sequence[str]) -> list[str]:
        people: dict[Split, set[int]] = defaultdict(set)
        for image in reading.images:
            people[image.split].add(image.pid)
        alone = len(people["gallery"] - people["query"])
        if "split" in levels:
            counts = ", ".join(f"{len(people[split]):,} persons for {split}" for split in SPLITS)
            remarks = [f"levels {'/'.join(levels)}, split as the folders say: {counts}"]
            return remarks if "camera" in levels else [NO_CAMERAS, *remarks]
        counts = f"{len(people['train']):,} persons for training, {len(people['query']):,} for queries and gallery"
        remarks = [
            f"levels {'/'.join(levels)}, split by person with seed {self.shares.seed}: {counts}"
            + (f", {alone:,} for the gallery alone, having no two images that could match" if alone else "")
        ]
        return remarks if "camera" in levels else [NO_CAMERAS, *remarks]


def levels_named(text: str) -> tuple[str, ...]:
    """Read "person/camera" and the like."""
    levels = tuple(text.strip("/").split("/"))
    if not set(levels) <= set(LEVELS) or levels.count("person") != 1 or max(map(levels.count, ("split", "camera"))) > 1:
        raise DataError(
            f"--levels {text!r}: expected folders from the root down: person, perhaps split and camera, and * for "
            "what does not matter, such as person/camera"
        )
    return levels


def split_by_person(images: Sequence[tuple[str, str, str]], shares: Shares) -> list[Split]:
    """Return the split of each (person, camera, path), which depends on these names and the seed alone.

    Where there are cameras, each query of a test person has a gallery image of that person from another camera. A
    person without any image that could be such a query only has gallery images, which match nobody.
    """
    of_person: dict[str, list[int]] = defaultdict(list)
    for at, (person, _, _) in enumerate(images):
        of_person[person].append(at)
    order = sorted(of_person, key=lambda person: _draw(shares.seed, person))
    for_training = set(order[: _count(shares.train, len(order))])
    splits: list[Split] = ["gallery"] * len(images)
    cameras = [camera for _, camera, _ in images]
    for person, places in of_person.items():
        if person in for_training:
            splits = _put(splits, places, "train")
        else:
            drawn = sorted(places, key=lambda at: _draw(shares.seed, images[at][2]))
            splits = _put(splits, _queries(drawn, cameras, shares.query), "query")
    return splits


def _put(splits: list[Split], places: Sequence[int], split: Split) -> list[Split]:
    for at in places:
        splits[at] = split
    return splits


def _queries(drawn: Sequence[int], cameras: Sequence[str], share: float) -> list[int]:
    """Return which images, in the order drawn, become queries: at least one if any can, and each keeps a match."""
    wanted, chosen = max(1, round(share * len(drawn))), list[int]()
    left = Counter(cameras[at] for at in drawn)
    for at in drawn:
        if len(chosen) == wanted:
            break
        left[cameras[at]] -= 1
        # Has each query, this one too, a match left from another camera? Without cameras any image that remains is one.
        remain = {camera for camera, count in left.items() if count}
        if all(remain - ({camera} if camera else set()) for camera in {cameras[one] for one in (*chosen, at)}):
            chosen.append(at)
        else:
            left[cameras[at]] += 1
    return chosen


def _count(share: float, of: int) -> int:
    """Return a share of a number of persons; any share but 0 and 1 leaves at least one on both sides."""
    count = round(share * of)
    return count if share in (0.0, 1.0) or of < 2 else min(max(count, 1), of - 1)


def _draw(seed: int, name: str) -> bytes:
    """Return a name's place in a random order, the same everywhere and whoever else is there."""
    # A name that is not UTF-8 is refused later, with what to do.
    return hashlib.sha256(f"{seed}/{name}".encode(errors="surrogatepass")).digest()


def _levels_of(paths: Sequence[PurePosixPath], root: Path) -> tuple[str, ...]:
    """Tell persons and cameras from how deep the images lie; folders around all of them are neither."""
    folders = [path.parts[:-1] for path in paths if len(path.parts) > 1]
    depths = sorted({len(parts) for parts in folders})
    around = next((n for n in range(min(depths, default=1)) if len({parts[n] for parts in folders}) > 1), None)
    if around is None:  # one folder has them all
        around = min(depths, default=1) - 1
    wrapper = ("*",) * around
    named = {parts[around].lower() for parts in folders if len(parts) > around}
    # Taken for persons, splits would make three people of a whole data set.
    of_splits = named & SPLIT_FOLDERS.keys()
    if len(named) > 1 and of_splits and of_splits != named:
        raise DataError(
            f"{root} has folders {', '.join(sorted(of_splits))} beside others, such as {min(named - of_splits)!r}; say "
            "what folders stand for, such as --levels split/person, which leaves out the others, or --levels person"
        )
    if len(named) > 1 and named <= _LIKE_SPLITS:
        raise DataError(
            f"{root} has folders {', '.join(sorted(named))}, which look like splits; give them names among "
            f"{', '.join(SPLIT_FOLDERS)}, or say what folders stand for, such as --levels */person"
        )
    if len(named) > 1 and of_splits:
        wrapper, around = (*wrapper, "split"), around + 1
    if depths == [1 + around]:
        return *wrapper, "person"
    if depths == [2 + around]:
        outer, inner = ({parts[around + level] for parts in folders} for level in (0, 1))
        cameras = set(filter(_LIKE_CAMERAS.fullmatch, map(composed, outer)))
        if 2 * len(cameras) > len(outer) and not all(map(_LIKE_CAMERAS.fullmatch, inner)):
            raise DataError(
                f"{root} has folders such as {min(cameras)!r}, which look like cameras, around others such as "
                f"{min(inner)!r}; say what they stand for, with --levels {'/'.join((*wrapper, 'camera'))}/person or "
                f"{'/'.join((*wrapper, 'person'))}/camera"
            )
        return *wrapper, "person", "camera"
    raise DataError(
        f"images lie {' and '.join(map(str, depths)) or 'no'} folders deep in {root}; say what the folders stand for, "
        "such as --levels person/camera or --levels */person"
    )


PERSON_FOLDERS = PersonFoldersLayout()
