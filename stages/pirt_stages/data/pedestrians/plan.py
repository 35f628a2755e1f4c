"""Which pictures a benchmark has: profiles, and the list of shots with their Market-1501 names."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from pirt_stages.data.pedestrians.shot import Shot

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"


@dataclass(frozen=True)
class Profile:
    """Counts of identities and images. `gallery` counts distractors (pid 0) and junk (pid −1) too."""

    cameras: int
    train_identities: int
    train: int
    query_identities: int
    query: int
    gallery_identities: int
    gallery: int
    distractors: int
    junk: int
    occluded: tuple[float, float, float] = (0.09, 1.0, 0.10)
    """Fractions of train, query and gallery; these are Occluded-DukeMTMC's."""


PROFILES: dict[str, Profile] = {
    "smoke": Profile(6, 8, 48, 8, 16, 8, 56, 4, 4),
    "demo": Profile(6, 80, 1280, 40, 120, 40, 600, 40, 20),
    # Many people and hardly a test: weights of other trainings start from it, in another world than theirs.
    "pretraining": Profile(8, 500, 6_000, 8, 16, 8, 56, 4, 4),
    # As many training images, queries and gallery images as Occluded-DukeMTMC has.
    "large": Profile(8, 702, 15_618, 519, 2_210, 1_110, 17_661, 1_500, 400),
}


@dataclass(frozen=True)
class PlannedImage:
    """One file of the benchmark: its path, its pid in the file's name, and what is drawn."""

    path: str
    pid: int
    shot: Shot


class _Book:
    """Numbers the pictures of an identity, and of a name, in each camera."""

    def __init__(self, rng: np.random.Generator, cameras: int) -> None:
        self.rng, self.cameras = rng, cameras
        self.frames: Counter[tuple[int, int]] = Counter()
        self.serials: Counter[tuple[int, int]] = Counter()

    def tour(self) -> list[int]:
        """Return all cameras in a random order."""
        return [int(camera) for camera in self.rng.permutation(self.cameras)]

    def entry(self, folder: str, pid: int, identity: int, camera: int, bad_crop: bool = False) -> PlannedImage:
        """Book the next picture of `identity` in `camera`, named after `pid`."""
        # A frame seeds what is drawn, a serial numbers the file: distractors are many people of one pid.
        frame, serial = self.frames[identity, camera], self.serials[pid, camera]
        self.frames[identity, camera] += 1
        self.serials[pid, camera] += 1
        name = f"{pid if pid < 0 else f'{pid:04d}'}_c{camera + 1}s1_{151 + 25 * serial:06d}_00.jpg"
        shot = Shot(identity, camera, frame, occluded=False, crop="bad" if bad_crop else "good")
        return PlannedImage(f"{folder}/{name}", pid, shot)

    def share(self, folder: str, pids: range, total: int) -> list[PlannedImage]:
        """Spread `total` pictures evenly over `pids`, each going round all cameras."""
        entries = []
        for order, pid in enumerate(pids):
            tour = self.tour()
            count = total // len(pids) + (order < total % len(pids))
            entries += [self.entry(folder, pid, pid - 1, tour[i % self.cameras]) for i in range(count)]
        return entries


def plan(profile: Profile, seed: int) -> list[PlannedImage]:
    """List every picture in the order of train, query, gallery, each by name; identities of train and test differ."""
    rng = np.random.default_rng([seed, 8])
    book = _Book(rng, profile.cameras)
    first = profile.train_identities + 1
    people = range(first, first + profile.gallery_identities)
    train = book.share(TRAIN, range(1, first), profile.train)
    query = book.share(QUERY, people[: profile.query_identities], profile.query)
    gallery = book.share(GALLERY, people, profile.gallery - profile.distractors - profile.junk)
    # Before distractors and junk join, so that the share is one of pictures that count.
    gallery = _occluded(gallery, profile.occluded[2], rng)
    for number in range(profile.distractors):
        # A distractor is somebody whom no other picture shows.
        gallery.append(book.entry(GALLERY, 0, people.stop + number, int(rng.integers(profile.cameras))))
    for _ in range(profile.junk):
        pid = people[int(rng.integers(len(people)))]
        gallery.append(book.entry(GALLERY, -1, pid - 1, int(rng.integers(profile.cameras)), bad_crop=True))
    parts = (_occluded(train, profile.occluded[0], rng), _occluded(query, profile.occluded[1], rng), gallery)
    return [entry for part in parts for entry in sorted(part, key=lambda entry: entry.path)]


def _occluded(entries: list[PlannedImage], fraction: float, rng: np.random.Generator) -> list[PlannedImage]:
    chosen = set(rng.permutation(len(entries))[: round(fraction * len(entries))].tolist())
    return [
        # Junk is in none of the lists that come here; its crop would be lost.
        PlannedImage(entry.path, entry.pid, Shot(entry.shot.identity, entry.shot.camera, entry.shot.frame, i in chosen))
        for i, entry in enumerate(entries)
    ]
