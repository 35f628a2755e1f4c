"""Whether confidence follows what can be seen: Spearman's rank correlation with the visible shares."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

COMPARED = ("visible share", "part of all that is visible")
"""An image's confidences sum to 1, so they cannot say that all of it is covered; the second measure allows for that."""


def correlations(confidence: Floats, shares: Floats) -> Iterator[tuple[float, float]]:
    """Correlate confidences n×G with visible shares n×G: a value for each of `COMPARED`, by part, then for all parts.

    Shares that are NaN are left out.
    """
    total = np.nansum(shares, axis=1, keepdims=True)
    parts = np.divide(shares, total, out=np.full_like(shares, np.nan), where=total > 0)
    for group in (*range(shares.shape[1]), slice(None)):
        told = confidence[:, group].ravel()
        yield rank_correlation(told, shares[:, group].ravel()), rank_correlation(told, parts[:, group].ravel())


def rank_correlation(one: Floats, other: Floats) -> float:
    """Correlate the ranks of two lists without places where either is NaN; NaN where all values of one are equal."""
    known = ~(np.isnan(one) | np.isnan(other))
    a, b = (_centred_ranks(values[known]) for values in (one, other))
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale else float("nan")


def _centred_ranks(values: Floats) -> Floats:
    """Return each value's rank less the mean rank; equal values share the mean of their ranks."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks - (len(values) + 1) / 2
