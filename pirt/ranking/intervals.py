"""How far a mean can be trusted: bootstrap intervals over identities."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
_LEVELS = (2.5, 97.5)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and the 95 % interval around it, which one identity alone does not have."""

    mean: float
    low: float | None = None
    high: float | None = None


def bootstrap(values: Floats, pids: NDArray[np.int64], seed: int = 0) -> Interval | None:
    """Return the mean of one value a query, and its interval; NaN values are left out, None where none is left.

    Identities are drawn, not queries: the queries of one person fail together.
    """
    known = ~np.isnan(values)
    if not known.any():
        return None
    values, (people, owner) = values[known], np.unique(pids[known], return_inverse=True)
    if len(people) == 1:
        return Interval(float(values.mean()))
    sums, sizes = np.bincount(owner, values), np.bincount(owner)
    # A fixed seed: the same evaluation has the same interval each time.
    drawn = np.random.default_rng(seed).integers(len(people), size=(RESAMPLES, len(people)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), _LEVELS)
    return Interval(float(values.mean()), float(low), float(high))
