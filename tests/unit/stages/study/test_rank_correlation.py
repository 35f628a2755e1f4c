from statistics import fmean

import numpy as np
import pytest

from pirt_stages.study.confidence import correlations, rank_correlation


def by_loops(one: list[float], other: list[float]) -> float:
    """Pearson's correlation of ranks, where a rank is counted by comparing with all others."""
    known = [(a, b) for a, b in zip(one, other, strict=True) if a == a and b == b]
    ranks = []
    for column in zip(*known, strict=True):
        counted = [sum(x < v for x in column) + (sum(x == v for x in column) + 1) / 2 for v in column]
        ranks.append([rank - fmean(counted) for rank in counted])
    if not known:
        return float("nan")
    both, *alone = (sum(a * b for a, b in zip(*pair, strict=True)) for pair in (ranks, ranks[:1] * 2, ranks[1:] * 2))
    return both / (alone[0] * alone[1]) ** 0.5 if alone[0] * alone[1] else float("nan")


def test_ranks_are_correlated_as_by_loops() -> None:
    chance = np.random.default_rng(0)
    for length in range(13):
        for _ in range(20):
            one, other = np.where(chance.random((2, length)) < 0.2, np.nan, chance.integers(0, 6, (2, length)))
            expected = by_loops(one.tolist(), other.tolist())
            assert rank_correlation(one, other) == pytest.approx(expected, nan_ok=True)


def test_confidence_is_compared_by_part_and_in_all() -> None:
    shares = np.array([[1.0, 0.5], [0.0, 1.0], [np.nan, 0.25], [0.5, 0.5], [0.0, 0.0]])
    confidence = np.array([[0.6, 0.4], [0.1, 0.9], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]])
    head, feet, both = correlations(confidence, shares)
    assert head[0] == pytest.approx(by_loops([0.6, 0.1, 0.5, 0.5], [1, 0, 0.5, 0]))
    assert head[1] == pytest.approx(by_loops([0.6, 0.1, 0.5], [2 / 3, 0, 0.5]))
    assert feet[1] == pytest.approx(by_loops([0.4, 0.9, 0.5, 0.5], [1 / 3, 1, 1, 0.5]))
    flat = [[0.6, 0.4, 0.1, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5], [1, 0.5, 0, 1, 0.25, 0.5, 0.5, 0, 0]]
    assert both[0] == pytest.approx(by_loops(*flat))
