"""Re-ranking by k-reciprocal encoding (Zhong et al., CVPR 2017), with sparse codes instead of full matrices."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pirt.ranking.matching import Features, global_distances
from pirt.ranking.params import RerankParams

SparseCode = tuple[NDArray[np.int64], NDArray[np.float64]]
"""The images that a sparse vector names, ascending, and their weights."""

_BLOCK = 256


class Reranker:
    """Re-ranked distances of the queries to the gallery.

    Two images are near when they have the same k-reciprocal neighbours among all queries and gallery images. The
    distance is (1 − λ) · Jaccard distance + λ · global distance over the query's largest. Memory grows with the number
    of images, not with its square.
    """

    def __init__(self, query: Features, gallery: Features, settings: RerankParams) -> None:
        self._query_count, self._count = len(query), len(query) + len(gallery)
        self._lambda = settings.original
        # A gallery that the queries' device cannot hold lies on the host, and so does everyone then.
        everyone = Features(torch.cat([query.globals.to(gallery.globals.device), gallery.globals]), query.global_count)
        # One more than k1, since each image is the first of its own neighbours.
        neighbours, farthest = _neighbours(everyone, query.globals.device, max(settings.k1 + 1, settings.k2))
        codes = list(_codes(everyone, neighbours, farthest, settings.k1))
        self._farthest = torch.from_numpy(farthest)
        self._codes = [_mean_code([codes[other] for other in near[: settings.k2]]) for near in neighbours.tolist()]
        self._naming = _Naming(self._codes, self._count)

    def distances(self, rows: slice, distances: Tensor) -> Tensor:
        """Turn the global distances of the queries `rows`, b×M, into re-ranked ones."""
        overlaps = [self._naming.overlap(code)[self._query_count :] for code in self._codes[rows]]
        shared = torch.from_numpy(np.stack(overlaps)).to(distances)
        # Weights of a code sum to 1, so the sum of the larger ones of two is 2 − that of the smaller.
        jaccard = 1 - shared / (2 - shared)
        farthest = self._farthest[rows, None].to(distances)
        return jaccard.mul_(1 - self._lambda).add_(distances / farthest, alpha=self._lambda)


def _neighbours(everyone: Features, device: torch.device, count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return each image's nearest `count` images, itself first, and its largest distance."""
    nearest, farthest = [], []
    for start in range(0, len(everyone), _BLOCK):
        distances = global_distances(everyone[start : start + _BLOCK].to(device), everyone)
        rows = torch.arange(len(distances))
        farthest.append(distances.max(dim=1).values.double())
        # An image comes before all others among its neighbours, before an exact copy of it too.
        distances[rows, rows + start] = -torch.inf
        nearest.append(distances.topk(min(count, len(everyone)), dim=1, largest=False).indices)
    # Not 0, by which distances are divided: all images may be copies of one.
    return torch.cat(nearest).cpu().numpy(), torch.cat(farthest).cpu().numpy().clip(min=1e-12)


def _codes(
    everyone: Features, neighbours: NDArray[np.int64], farthest: NDArray[np.float64], k1: int
) -> Iterator[SparseCode]:
    """Yield each image's expanded k-reciprocal neighbours, weighted by their nearness to it."""
    reciprocal = _reciprocal(neighbours[:, : k1 + 1])
    # Half to even, as its authors round.
    half = _reciprocal(neighbours[:, : round(k1 / 2) + 1])
    for image, near in enumerate(reciprocal):
        joining = [half[other] for other in near if _mostly_in(half[other], near)]
        named = np.unique(np.concatenate([near, *joining]))
        cosines = everyone.globals[torch.from_numpy(named)] @ everyone.globals[image]
        weights = np.exp(-(everyone.global_count - cosines.double().cpu().numpy()) / farthest[image])
        yield named, weights / weights.sum()


def _reciprocal(neighbours: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return, for each image, those of its neighbours that have it as a neighbour."""
    kept = []
    for image, near in enumerate(neighbours):
        kept.append(np.sort(near[(neighbours[near] == image).any(axis=1)]))
    return kept


def _mostly_in(some: NDArray[np.int64], others: NDArray[np.int64]) -> bool:
    # More than two thirds, as its authors ask, without a rounded fraction.
    return bool(3 * np.isin(some, others).sum() > 2 * len(some))


def _mean_code(codes: list[SparseCode]) -> SparseCode:
    """Average sparse vectors (local query expansion)."""
    named, places = np.unique(np.concatenate([code[0] for code in codes]), return_inverse=True)
    return named, np.bincount(places, np.concatenate([code[1] for code in codes])) / len(codes)


class _Naming:
    """For each image, which images' codes name it and with what weight."""

    def __init__(self, codes: list[SparseCode], count: int) -> None:
        named = np.concatenate([code[0] for code in codes])
        by_name = np.argsort(named, kind="stable")
        self._owners = np.repeat(np.arange(count), [len(code[0]) for code in codes])[by_name]
        self._weights = np.concatenate([code[1] for code in codes])[by_name]
        self._starts = np.searchsorted(named[by_name], np.arange(count + 1))
        self._count = count

    def overlap(self, code: SparseCode) -> NDArray[np.float64]:
        """Sum of the smaller weights that `code` and every image's code give to the same images."""
        named, weights = code
        slices = [slice(self._starts[image], self._starts[image + 1]) for image in named]
        owners = np.concatenate([self._owners[part] for part in slices])
        theirs = np.concatenate([self._weights[part] for part in slices])
        ours = np.repeat(weights, [part.stop - part.start for part in slices])
        smaller: NDArray[np.float64] = np.minimum(ours, theirs)
        return np.bincount(owners, smaller, minlength=self._count).astype(np.float64, copy=False)
