"""PK sampling: every batch holds P identities with K images each."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from pirt.core.errors import ManifestError
from pirt.runs.dataset import Draw


class PKSampler(Sampler[list[Draw]]):
    """Batches of `identities` × `instances` draws, grouped by identity; one rank yields its share of each.

    The batches depend on the seed, the epoch and the labels alone: `ranks` processes together draw what one
    process would. Every identity comes equally often; within an epoch its images come without repetition as
    long as they last, and those of an identity with fewer than `instances` images with replacement.
    """

    def __init__(
        self,
        labels: Sequence[int],
        *,
        identities: int,
        instances: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.images = _by_label(labels)
        _check(self.images, identities, instances, ranks)
        self.identities, self.instances = identities, instances
        self.seed, self.rank, self.ranks = seed, rank, ranks
        self.epoch, self.first_batch = 0, 0
        self.batches = max(1, len(labels) // (identities * instances))

    @property
    def small_identities(self) -> int:
        """How many identities have fewer than `instances` images."""
        return sum(len(images) < self.instances for images in self.images)

    def start(self, epoch: int, first_batch: int = 0) -> None:
        """Make the next iteration yield `epoch`, from batch `first_batch` on."""
        self.epoch, self.first_batch = epoch, first_batch

    def __len__(self) -> int:
        return self.batches - self.first_batch

    def __iter__(self) -> Iterator[list[Draw]]:
        share = self.identities * self.instances // self.ranks
        first = self.rank * share
        for number, batch in enumerate(self._epoch()):
            if number >= self.first_batch:
                yield batch[first : first + share]

    def _epoch(self) -> Iterator[list[Draw]]:
        chance = np.random.default_rng((self.seed, self.epoch))
        left: list[list[int]] = [[] for _ in self.images]
        order: list[int] = []
        position = 0
        for _ in range(self.batches):
            if len(order) < self.identities:
                order = chance.permutation(len(self.images)).tolist()
            chosen, order = order[: self.identities], order[self.identities :]
            indices = [index for label in chosen for index in self._instances(label, left, chance)]
            yield [Draw(index, (self.seed, self.epoch, index, position + at)) for at, index in enumerate(indices)]
            position += len(indices)

    def _instances(self, label: int, left: list[list[int]], chance: np.random.Generator) -> list[int]:
        images = self.images[label]
        if len(images) < self.instances:
            return [int(image) for image in chance.choice(images, self.instances)]
        if len(left[label]) < self.instances:
            left[label] = chance.permutation(images).tolist()
        taken, left[label] = left[label][: self.instances], left[label][self.instances :]
        return taken


def _by_label(labels: Sequence[int]) -> list[list[int]]:
    images: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        images.setdefault(label, []).append(index)
    return [images[label] for label in sorted(images)]


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
