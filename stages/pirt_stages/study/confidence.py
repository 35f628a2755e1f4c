"""Whether confidence knows what can be seen: Spearman's rank correlation with the visible shares."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

COMPARED = ("visible share", "part of all that is visible")
"""Since an image's confidences sum to 1 they cannot say that all of it is covered; the second takes that away."""


def correlations(confidence: Floats, shares: Floats) -> Iterator[tuple[float, float]]:
    """Correlate confidences n×G with visible shares n×G: for each part, then of all parts together, a value for each
    of `COMPARED`.
    """
    total = np.nansum(shares, axis=1, keepdims=True)
    parts = np.divide(shares, total, out=np.full_like(shares, np.nan), where=total > 0)
    for group in (*range(shares.shape[1]), slice(None)):
        told = confidence[:, group].ravel()
        yield rank_correlation(told, shares[:, group].ravel()), rank_correlation(told, parts[:, group].ravel())


def rank_correlation(one: Floats, other: Floats) -> float:
    """Correlate the ranks of two lists; places where either is NaN are left out, NaN where one is all alike."""
    known = ~(np.isnan(one) | np.isnan(other))
    a, b = (_centred_ranks(values[known]) for values in (one, other))
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale else float("nan")


def _centred_ranks(values: Floats) -> Floats:
    """Return each value's rank without the mean of all; equal values share the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks - (len(values) + 1) / 2
