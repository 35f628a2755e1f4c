"""The folders and names of the published data sets, each image with the shot that stands in for it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from pirt_stages.data.pedestrians.plan import GALLERY, QUERY, TRAIN, PlannedImage, Profile, plan
from pirt_stages.data.pedestrians.shot import Shot


class Extent(StrEnum):
    """Reduced counts, or those of the published data set."""

    SMALL = "small"
    FULL = "full"


@dataclass(frozen=True)
class StandinImage:
    """One image: its path under the folder that is written, and what it shows."""

    path: str
    shot: Shot


@dataclass(frozen=True)
class Standin:
    """A data set: its images, and its other files by path."""

    items: list[StandinImage]
    extras: dict[str, bytes]


# The counts are the published ones: of the gallery's 19,732 files 2,798 are distractors and 3,819 junk.
_MARKET = {
    Extent.SMALL: Profile(6, 16, 128, 12, 24, 12, 110, 12, 8, occluded=(0.05, 0.2, 0.05)),
    Extent.FULL: Profile(6, 751, 12_936, 750, 3_368, 750, 19_732, 2_798, 3_819, occluded=(0.05, 0.2, 0.05)),
}
_DUKE = {
    Extent.SMALL: Profile(8, 16, 144, 12, 24, 12, 120, 0, 0, occluded=(0.12, 0.25, 0.25)),
    Extent.FULL: Profile(8, 702, 16_522, 702, 2_228, 1_110, 17_661, 0, 0, occluded=(0.12, 0.25, 0.25)),
}
_DUKE_LISTS = {Extent.SMALL: (136, 24), Extent.FULL: (15_618, 2_210)}
"""Names in train.list and query.list; gallery.list names all of bounding_box_test."""


def market1501(size: Extent, seed: int) -> Standin:
    """Market-1501 as it is unpacked, `Thumbs.db` included."""
    top = "Market-1501-v15.09.15"
    items = [StandinImage(f"{top}/{entry.path}", entry.shot) for entry in plan(_MARKET[size], seed)]
    # These four bytes begin every file of the kind that Thumbs.db is.
    extras = {f"{top}/{folder}/Thumbs.db": b"\xd0\xcf\x11\xe0" for folder in (TRAIN, QUERY, GALLERY)}
    return Standin(items, extras | {f"{top}/readme.txt": b"A stand-in.\n"})


def dukemtmc_reid(size: Extent, seed: int) -> Standin:
    """DukeMTMC-reID as it is unpacked."""
    items = [StandinImage(f"DukeMTMC-reID/{path}", entry.shot) for path, entry in _duke_names(plan(_DUKE[size], seed))]
    return Standin(
        items, {f"DukeMTMC-reID/{name}": b"A stand-in.\n" for name in ("CITATION.txt", "LICENSE_DukeMTMC.txt")}
    )


def occluded_dukemtmc(size: Extent, seed: int) -> Standin:
    """DukeMTMC-reID and the three lists that re-split it; some queries are taken from bounding_box_test."""
    duke = dukemtmc_reid(size, seed)
    shots = {item.path.removeprefix("DukeMTMC-reID/"): item.shot for item in duke.items}
    train, query = _DUKE_LISTS[size]
    # The renderer's own draws are numbered 1 to 8 in the same place.
    kept = np.random.default_rng([seed, 9]).permutation([path for path in shots if path.startswith(TRAIN)])[:train]
    # Queries are occluded; a quarter comes from the query folder, so that an importer has to look into both.
    hidden = [path for path, shot in shots.items() if shot.occluded]
    own, moved = ([path for path in hidden if path.startswith(f"{folder}/")] for folder in (QUERY, GALLERY))
    lists = {
        "train": kept.tolist(),
        "query": (own[: query // 4] + moved)[:query],
        "gallery": [path for path in shots if path.startswith(GALLERY)],
    }
    texts = {
        f"Occluded_Duke/{split}.list": "".join(f"{name}\n" for name in sorted(_base(path) for path in paths)).encode()
        for split, paths in lists.items()
    }
    return Standin(duke.items, duke.extras | texts)


def occluded_reid(size: Extent, seed: int) -> Standin:
    """Occluded-REID: TIFF files in one folder per identity."""
    people = 200 if size is Extent.FULL else 16
    return _body_images("Occluded_REID", people, 5, "{pid:03d}/{pid:03d}_{n:02d}.tif")


def partial_reid(size: Extent, seed: int) -> Standin:
    """Partial-REID: flat folders."""
    return _body_images("Partial-REID", 60 if size is Extent.FULL else 12, 5, "{pid:03d}_{n:02d}.jpg")


def partial_ilids(size: Extent, seed: int) -> Standin:
    """Partial-iLIDS: one image per identity and side."""
    return _body_images("Partial_iLIDS", 119 if size is Extent.FULL else 24, 1, "{pid:03d}.jpg")


def p_dukemtmc_reid(size: Extent, seed: int) -> Standin:
    """P-DukeMTMC-reID: halves, in them whole and occluded bodies, in them one folder per identity."""
    full = size is Extent.FULL
    # In full 24,143 images of 1,299 persons, as published.
    people = (665, 634) if full else (12, 10)
    places = (
        ("train/whole_body_images", range(1, people[0] + 1), 9_000 if full else 72, False),
        ("train/occluded_body_images", range(1, people[0] + 1), 3_927 if full else 36, True),
        ("test/occluded_body_images", range(people[0] + 1, sum(people) + 1), 2_163 if full else 30, True),
        ("test/whole_body_images", range(people[0] + 1, sum(people) + 1), 9_053 if full else 80, False),
    )
    items = []
    for place, pids, total, occluded in places:
        for pid, n in _spread(pids, total):
            # Frames of their own, or a person would be drawn covered and whole in one pose.
            shot = Shot(pid - 1, (n + pid + 4 * occluded) % 8, n + 1000 * occluded, occluded)
            name = f"{pid:04d}_c{shot.camera + 1}_f{46_182 + 60 * shot.frame:07d}.jpg"
            items.append(StandinImage(f"P-DukeMTMC-reid/{place}/{pid:04d}/{name}", shot))
    return Standin(items, {})


def msmt17(size: Extent, seed: int) -> Standin:
    """MSMT17, version 1: lists of names with labels, training and test people both numbered from 0."""
    full = size is Extent.FULL
    people = (1_041, 3_060) if full else (12, 10)
    parts = (
        ("train", "train", 0, range(people[0]), 30_248 if full else 84, False),
        ("val", "train", 0, range(people[0]), 2_373 if full else 12, False),
        ("query", "test", people[0], range(people[1]), 11_659 if full else 20, True),
        ("gallery", "test", people[0], range(people[1]), 82_161 if full else 80, False),
    )
    items, extras = [], {}
    for order, (split, folder, offset, labels, total, occluded) in enumerate(parts):
        lines = []
        for label, n in _spread(labels, total):
            # Of 15 cameras, queries are seen by those 7 further on, so that they have matches in others.
            shot = Shot(offset + label, (n + label + 7 * (order == 2)) % 15, n + 1000 * order, occluded)
            # Two lists share a folder: numbers 200 apart keep the names of a person different.
            name = f"{label:04d}_{n + 200 * order:03d}_{shot.camera + 1:02d}_0303morning_{8 + n:04d}_{order % 2}.jpg"
            items.append(StandinImage(f"MSMT17_V1/{folder}/{label:04d}/{name}", shot))
            lines.append(f"{label:04d}/{name} {label}\n")
        extras[f"MSMT17_V1/list_{split}.txt"] = "".join(lines).encode()
    return Standin(items, extras)


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _duke_names(entries: list[PlannedImage]) -> Iterator[tuple[str, PlannedImage]]:
    for entry in entries:
        folder, shot = entry.path.partition("/")[0], entry.shot
        yield f"{folder}/{entry.pid:04d}_c{shot.camera + 1}_f{46_182 + 60 * shot.frame:07d}.jpg", entry


def _spread(labels: range, total: int) -> Iterator[tuple[int, int]]:
    """Yield (label, number of its image), `total` in all, spread as evenly as possible."""
    for order, label in enumerate(labels):
        for n in range(total // len(labels) + (order < total % len(labels))):
            yield label, n


def _body_images(top: str, people: int, each: int, name: str) -> Standin:
    """Lay out `each` occluded and whole images of every identity, seen by other cameras."""
    items = []
    for pid in range(1, people + 1):
        for n in range(1, each + 1):
            shot = Shot(pid - 1, (pid + n) % 6, n, occluded=True)
            whole = replace(shot, camera=(shot.camera + 3) % 6, occluded=False)
            items.append(StandinImage(f"{top}/occluded_body_images/{name.format(pid=pid, n=n)}", shot))
            items.append(StandinImage(f"{top}/whole_body_images/{name.format(pid=pid, n=n)}", whole))
    return Standin(items, {})
