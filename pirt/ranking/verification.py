"""Same person or different: how good one threshold on a pair's distance is, exactly and without keeping the pairs.

A pair's distance here is global + Σ_g w_g·d(f̂_q, f̂_g) whatever N is, so that it depends on the two images alone.
Distances are counted in steps of 2⁻²⁰, about a millionth and the size of their float32 rounding error, and each is
rounded up to a step. Rates at a threshold of whole steps are then those of comparing `distance <= threshold`, to the
last pair, while memory does not grow with the number of pairs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pirt.core.errors import DataError
from pirt.core.pids import DISTRACTOR_PID, JUNK_PID
from pirt.ranking.evaluation import Persons, query_blocks, within
from pirt.ranking.matching import ConfidenceMode, Features, GroupDistance, fully, global_distances
from pirt.ranking.metrics import Junk
from pirt.runs.precision import tf32

STEPS = 1 << 20
"""Steps in a distance of 1."""
_FARTHEST = 64  # what lies beyond counts as this; unit features reach 4 globally and 2 a group
_COARSE = 1 << 10  # steps taken together when a probability is fitted: 0.001 of distance
_ITERATIONS = 100

PairCounts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OperatingPoint:
    """What happens when all pairs with `distance <= threshold` are called the same person."""

    threshold: float
    true_positive_rate: float
    false_positive_rate: float


@dataclass(frozen=True)
class Calibration:
    """Probability that a pair shows one person: 1 / (1 + exp(slope · distance − offset)).

    It holds for galleries in which the share of pairs of one person is that of the data it was fitted on.
    """

    offset: float
    slope: float

    def probability(self, distance: float) -> float:
        """Return the probability at this distance."""
        return float(_logistic(np.array(self.offset - self.slope * distance)))


@dataclass(frozen=True)
class Verification:
    """How many pairs of one person, and of two, are at most i steps apart: entry i of `same` and `different`."""

    same: PairCounts
    different: PairCounts

    @property
    def pairs(self) -> tuple[int, int]:
        """How many pairs show one person, and how many show two."""
        return int(self.same[-1]), int(self.different[-1])

    def at(self, step: int) -> OperatingPoint:
        """Return the rates of a threshold of so many steps."""
        same, different = self.pairs
        # Step −1 is below every distance.
        accepted, wrong = (int(self.same[step]), int(self.different[step])) if step >= 0 else (0, 0)
        return OperatingPoint(step / STEPS, accepted / max(same, 1), wrong / max(different, 1))

    def at_false_positive_rate(self, rate: float) -> OperatingPoint:
        """Return the largest threshold, up to the farthest pair, with at most `rate` false positives."""
        allowed = int(rate * self.pairs[1] + 1e-6)  # a millionth for the product's rounding
        return self.at(int(self.different.searchsorted(allowed, "right")) - 1)

    def at_equal_errors(self) -> OperatingPoint:
        """Return the smallest threshold whose two kinds of error, 1 − TPR and FPR, are nearest to each other."""
        same, different = self.pairs
        # In whole pairs, so that rounding decides no tie.
        gap = (same - self.same) * max(different, 1) - self.different * max(same, 1)
        return self.at(int(np.abs(gap).argmin()))

    def curve(self, points: int) -> list[OperatingPoint]:
        """Return at most `points` of the curve, half of them even in the true positives, half in log false ones."""
        same, different = self.pairs
        even = np.linspace(0, 1, points // 2)
        steps = [*self.same.searchsorted(even * same), *self.different.searchsorted(max(different, 1) ** even)]
        return [self.at(step) for step in sorted({min(int(step), len(self.same) - 1) for step in steps})]

    def calibration(self) -> Calibration:
        """Fit a logistic curve to all pairs by maximum likelihood, both kinds with Platt's smoothed targets."""
        last = np.minimum(np.arange(_COARSE - 1, len(self.same) + _COARSE - 1, _COARSE), len(self.same) - 1)
        same, different = (np.diff(counts[last], prepend=0).astype(float) for counts in (self.same, self.different))
        return fit_logistic((np.arange(len(last)) + 0.5) * _COARSE / STEPS, same, different)


@tf32(allowed=False)
def measure_verification(
    query: Persons,
    gallery: Persons,
    *,
    mode: ConfidenceMode,
    group_distance: GroupDistance = "euclidean",
    junk: Junk = "drop",
    device: torch.device | None = None,
    progress: Callable[[int], object] = lambda queries: None,
) -> Verification:
    """Count all pairs of query and gallery by their distance; `mode` weighs the groups of models that have them."""
    device = device or query.features.globals.device
    asked, searched = query.features.to(device), within(gallery.features, device)
    counter = PairCounter(gallery.pids, gallery.camids, junk=junk, device=device)
    # Beside the distances, as `evaluate` counts them, their steps and the masks of pairs in `PairCounter.update`.
    matrices = 4 if searched.groups is None else 5 + len(searched.groups)
    for rows in query_blocks(len(query), len(gallery), matrices):
        distances = pair_distances(asked[rows], searched, mode, group_distance)
        counter.update(distances, query.pids[rows], query.camids[rows])
        progress(rows.stop - rows.start)
    return counter.compute()


def pair_distances(query: Features, gallery: Features, mode: ConfidenceMode, kind: GroupDistance) -> Tensor:
    """Return the distance of b queries to the whole gallery, by parts too where there are some: b×M."""
    distances = global_distances(query, gallery)
    return distances if query.groups is None else next(fully(query, gallery, distances, [mode], kind))


class PairCounter:
    """Counts the pairs of queries that come in blocks, but for those that `RankMeter` leaves out."""

    def __init__(self, gallery_pids: ArrayLike, gallery_camids: ArrayLike, *, junk: Junk, device: torch.device) -> None:
        self._pids = torch.as_tensor(gallery_pids, device=device)
        self._camids = torch.as_tensor(gallery_camids, device=device)
        self._valid = (self._pids != JUNK_PID) | (junk == "keep")
        self._same = self._different = torch.zeros(1, dtype=torch.int64, device=device)

    def update(self, distances: Tensor, query_pids: ArrayLike, query_camids: ArrayLike) -> None:
        """Add the pairs of a block, b×M; a NaN is a `DataError`."""
        if distances.isnan().any():
            raise DataError("the distance of a query to a gallery image is NaN; check the features for NaN and zeros")
        pids = torch.as_tensor(query_pids, device=distances.device)[:, None]
        camids = torch.as_tensor(query_camids, device=distances.device)[:, None]
        same = pids == self._pids
        valid = self._valid & ~(same & (camids == self._camids)) & (pids > DISTRACTOR_PID)
        # Scaling by a power of two is exact, so a step is reached exactly where the distance is.
        steps = (distances * STEPS).ceil_().clamp_(0, _FARTHEST * STEPS).int()
        self._same = _added(self._same, steps[same & valid])
        self._different = _added(self._different, steps[~same & valid])

    def compute(self) -> Verification:
        """Return the counts of all pairs so far."""
        length = max(len(self._same), len(self._different))
        same, different = (_lengthened(counts, length).cumsum(0).cpu() for counts in (self._same, self._different))
        return Verification(same.numpy(), different.numpy())


def _added(counts: Tensor, steps: Tensor) -> Tensor:
    new = torch.bincount(steps, minlength=len(counts))
    new[: len(counts)] += counts
    return new


def _lengthened(counts: Tensor, length: int) -> Tensor:
    return torch.nn.functional.pad(counts, (0, length - len(counts)))


def fit_logistic(distances: Floats, same: Floats, different: Floats) -> Calibration:
    """Fit P(same) to counts of pairs of one person and of two at some distances, by Newton's method.

    Targets are (n + 1)/(n + 2) and 1/(n + 2) instead of 1 and 0 (Platt, 1999), so that a perfect separation has a
    finite slope.
    """
    weights = same + different
    kept = weights > 0
    weights, ones, distances = weights[kept], same[kept], distances[kept]
    n_same, n_different = ones.sum(), (weights - ones).sum()
    targets = (ones * (n_same + 1) / (n_same + 2) + (weights - ones) / (n_different + 2)) / weights
    found = np.array([math.log((n_same + 1) / (n_different + 1)), 0.0])
    loss = _cross_entropy(found, distances, targets, weights)
    for _ in range(_ITERATIONS):
        likely = _logistic(found[0] - found[1] * distances)
        # Plain sums: the last digits of a matrix product depend on the processor.
        slopes, bends = weights * (likely - targets), weights * likely * (1 - likely)
        gradient = [slopes.sum(), -(slopes * distances).sum()]
        across = -(bends * distances).sum()
        curvature = [[bends.sum(), across], [across, (bends * distances**2).sum()]]
        # With one distance only, the curvature is singular and the offset alone is fitted.
        step = np.linalg.lstsq(curvature, gradient, rcond=1e-12)[0]
        # Newton's step may overshoot; half of it, or half of that, goes downhill. Near the end the loss changes by less
        # than its rounding, which must not stop the fit.
        while (new := _cross_entropy(found - step, distances, targets, weights)) > loss * (1 + 1e-12):
            step = step / 2
        found, loss = found - step, new
        # Each step squares the error, so that the next one would be lost in rounding.
        if np.abs(step).max() < 1e-9:
            break
    offset, slope = (float(f"{value:.12g}") for value in found)
    return Calibration(offset, slope)


def _logistic(values: Floats) -> Floats:
    # The same function as 1 / (1 + exp(−x)), whose exp overflows.
    likely: Floats = 0.5 * (1 + np.tanh(values / 2))
    return likely


def _cross_entropy(found: Floats, distances: Floats, targets: Floats, weights: Floats) -> float:
    logits = found[0] - found[1] * distances
    return float((weights * (np.logaddexp(0, logits) - targets * logits)).sum())
