"""PK sampling: every batch holds P identities with K images each."""

from collections.abc import Iterator, Sequence
from itertools import count, islice

import numpy as np
from torch.utils.data import Sampler

from pirt.core.errors import ManifestError
from pirt.runs.dataset import Draw
from pirt.runs.params import SampledBy

_WALK = 1
"""Sets the walk's chance apart from an epoch's."""


class PKSampler(Sampler[list[Draw]]):
    """Batches of `identities` × `instances` draws, grouped by identity; one rank yields its share of each.

    The batches depend on the seed, the epoch and the labels alone: `ranks` processes together draw what one
    process would. `by` says how the P places of a batch are filled:

    - "images", the authors' way: by the next images of a walk over all of them in random order, each with
      K − 1 others of its identity. The walk goes on over the epochs, so identities come in proportion to their
      images, and two places of a batch may fall to one identity.
    - "identities": by P different identities, all equally often. Within an epoch an identity's images come without
      repetition as long as they last.

    An identity with fewer than `instances` images gives them with replacement.
    """

    def __init__(
        self,
        labels: Sequence[int],
        *,
        by: SampledBy,
        identities: int,
        instances: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.labels = labels
        self.images = _by_label(labels)
        _check(list(self.images.values()), identities, instances, ranks)
        self.by = by
        self.identities, self.instances = identities, instances
        self.seed, self.rank, self.ranks = seed, rank, ranks
        self.epoch, self.first_batch = 0, 0
        # As many draws as there are images, however few: a data set smaller than a batch has epochs of one.
        self.batches = max(1, len(labels) // (identities * instances))

    @property
    def small_identities(self) -> int:
        """How many identities have fewer than `instances` images."""
        return sum(len(images) < self.instances for images in self.images.values())

    def start(self, epoch: int, first_batch: int = 0) -> None:
        """Make the next iteration yield `epoch`, from batch `first_batch` on."""
        self.epoch, self.first_batch = epoch, first_batch

    def __len__(self) -> int:
        return self.batches - self.first_batch

    def __iter__(self) -> Iterator[list[Draw]]:
        share = self.identities * self.instances // self.ranks
        first = self.rank * share
        # Batches that are passed over are drawn all the same, since the later ones depend on their chance.
        for number, batch in enumerate(self._epoch()):
            if number >= self.first_batch:
                yield batch[first : first + share]

    def _epoch(self) -> Iterator[list[Draw]]:
        chance = np.random.default_rng((self.seed, self.epoch))
        places = self._by_images(chance) if self.by == "images" else self._by_identities(chance)
        position = 0
        for _ in range(self.batches):
            indices = [index for own in islice(places, self.identities) for index in own]
            # With the place, so that an image which comes twice in an epoch is not augmented alike.
            yield [Draw(index, (self.seed, self.epoch, index, position + at)) for at, index in enumerate(indices)]
            position += len(indices)

    def _by_images(self, chance: np.random.Generator) -> Iterator[list[int]]:
        for image in self._walk(first=self.epoch * self.batches * self.identities):
            own = self.images[self.labels[image]]
            others = own if len(own) < self.instances else [other for other in own if other != image]
            drawn = chance.choice(others, self.instances - 1, replace=len(own) < self.instances)
            yield [image, *drawn.tolist()]

    def _walk(self, first: int) -> Iterator[int]:
        """Yield the images of an endless walk from the `first` on; each round has an order of its own."""
        rounds, passed = divmod(first, len(self.labels))
        for number in count(rounds):
            order = np.random.default_rng((self.seed, number, _WALK)).permutation(len(self.labels))
            yield from order[passed:].tolist()
            passed = 0

    def _by_identities(self, chance: np.random.Generator) -> Iterator[list[int]]:
        left: dict[int, list[int]] = {label: [] for label in self.images}
        labels = list(self.images)
        whole = len(labels) - len(labels) % self.identities  # no batch spans two orders: it may repeat nobody
        while True:
            for place in chance.permutation(len(labels))[:whole]:
                yield self._instances(labels[place], left, chance)

    def _instances(self, label: int, left: dict[int, list[int]], chance: np.random.Generator) -> list[int]:
        images = self.images[label]
        if len(images) < self.instances:
            return [int(image) for image in chance.choice(images, self.instances)]
        if len(left[label]) < self.instances:
            left[label] = chance.permutation(images).tolist()
        taken, left[label] = left[label][: self.instances], left[label][self.instances :]
        return taken


def _by_label(labels: Sequence[int]) -> dict[int, list[int]]:
    images: dict[int, list[int]] = {label: [] for label in sorted(set(labels))}
    for index, label in enumerate(labels):
        images[label].append(index)
    return images


def _check(images: list[list[int]], identities: int, instances: int, ranks: int) -> None:
    if len(images) < identities:
        raise ManifestError(
            f"a batch of {identities} identities cannot be drawn from {len(images)}; lower train.identities"
        )
    most = max(len(own) for own in images)
    if most < instances:
        raise ManifestError(f"no identity has {instances} images, the largest has {most}; lower train.instances")
    if identities % ranks:
        raise ManifestError(
            f"{identities} identities cannot be shared by {ranks} processes; make train.identities a multiple"
        )
