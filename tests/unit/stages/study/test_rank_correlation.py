from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pirt_stages.study.confidence import correlations, rank_correlation

NUMBERS = st.one_of(st.integers(0, 5).map(float), st.just(float("nan")))


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


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12))
def test_ranks_are_correlated_as_by_loops(pairs: list[tuple[float, float]]) -> None:
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    found = rank_correlation(np.array(one), np.array(other))
    assert found == pytest.approx(by_loops(one, other), nan_ok=True)


def test_confidence_is_compared_by_part_and_in_all() -> None:
    shares = np.array([[1.0, 0.5], [0.0, 1.0], [np.nan, 0.25], [0.5, 0.5], [0.0, 0.0]])
    confidence = np.array([[0.6, 0.4], [0.1, 0.9], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]])
    head, feet, both = correlations(confidence, shares)
    assert head[0] == pytest.approx(by_loops([0.6, 0.1, 0.5, 0.5], [1, 0, 0.5, 0]))
    assert head[1] == pytest.approx(by_loops([0.6, 0.1, 0.5], [2 / 3, 0, 0.5]))
    assert feet[1] == pytest.approx(by_loops([0.4, 0.9, 0.5, 0.5], [1 / 3, 1, 1, 0.5]))
    flat = [[0.6, 0.4, 0.1, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5], [1, 0.5, 0, 1, 0.25, 0.5, 0.5, 0, 0]]
    assert both[0] == pytest.approx(by_loops(*flat))
