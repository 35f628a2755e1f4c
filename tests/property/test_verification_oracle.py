"""Thresholds and rates against plain loops over all pairs."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pirt.core.errors import DataError
from pirt.ranking.evaluation import Persons
from pirt.ranking.matching import CONFIDENCE_MODES, make_features
from pirt.ranking.verification import STEPS, PairCounter, fit_logistic, measure_verification


def pairs_of(distances, query_pids, gallery_pids, query_camids, gallery_camids, keep):
    """The distances of pairs of one person, and of two."""
    same, different = [], []
    for q, row in enumerate(distances):
        for g, distance in enumerate(row):
            if query_pids[q] <= 0 or (gallery_pids[g] == -1 and not keep):
                continue
            if query_pids[q] != gallery_pids[g]:
                different.append(float(distance))
            elif query_camids[q] != gallery_camids[g]:
                same.append(float(distance))
    return same, different


def rates(same, different, threshold):
    return tuple(sum(d <= threshold for d in side) / max(len(side), 1) for side in (same, different))


@st.composite
def cases(draw):
    queries, gallery = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    # Near to each other, so that the counts are short.
    value = st.sampled_from([0.0, 1 / 512, 1 / 256, 1 / 256 + 2**-20, 1 / 256 + 2**-21, -1e-7]) | st.floats(
        0, 1 / 64, width=32
    )
    pids, camids = st.integers(-1, draw(st.integers(0, 3))), st.integers(0, 1)

    def some(strategy, count):
        return draw(st.lists(strategy, min_size=count, max_size=count))

    distances = np.array(some(value, queries * gallery), np.float32).reshape(queries, gallery)
    return distances, some(pids, queries), some(pids, gallery), some(camids, queries), some(camids, gallery)


def counted(case, keep=False, cuts=()):
    distances, query_pids, gallery_pids, query_camids, gallery_camids = case
    counter = PairCounter(gallery_pids, gallery_camids, junk="keep" if keep else "drop", device=torch.device("cpu"))
    edges = [0, *cuts, len(distances)]
    for start, stop in pairwise(edges):
        counter.update(torch.from_numpy(distances[start:stop]), query_pids[start:stop], query_camids[start:stop])
    return counter.compute()


@given(cases(), st.booleans(), st.sampled_from([0.001, 0.1, 0.25, 1 / 3, 0.5, 1.0]))
@settings(max_examples=150, deadline=None)
def test_every_point_has_the_rates_of_comparing_each_pair(case, keep, rate):
    same, different = pairs_of(*case, keep)
    found = counted(case, keep)
    assert found.pairs == (len(same), len(different))
    points = [found.at_equal_errors(), found.at_false_positive_rate(rate), *found.curve(20)]
    for point in points:
        assert (point.true_positive_rate, point.false_positive_rate) == rates(same, different, point.threshold)
    chosen = points[1]
    assert chosen.false_positive_rate <= rate
    if chosen.threshold < max([*same, *different], default=0):
        _, more = rates(same, different, chosen.threshold + 1 / STEPS)
        assert more > rate


@given(cases())
@settings(max_examples=80, deadline=None)
def test_equal_errors_are_the_nearest_of_all_thresholds(case):
    same, different = pairs_of(*case, False)
    point = counted(case).at_equal_errors()

    def gap(threshold):
        accepted, wrong = rates(same, different, threshold)
        return abs(1 - accepted - wrong)

    steps = {max(math.ceil(d * STEPS), 0) / STEPS for d in [*same, *different]} | {0.0}
    if same and different:
        assert gap(point.threshold) == pytest.approx(min(map(gap, steps)), abs=1e-12)


@given(cases(), st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_blocks_sum_to_the_whole(case, cut):
    whole, blocks = counted(case), counted(case, cuts=(min(cut, len(case[0])),))
    assert whole.same.tolist() == blocks.same.tolist()
    assert whole.different.tolist() == blocks.different.tolist()


@pytest.mark.parametrize("mode", CONFIDENCE_MODES)
@pytest.mark.parametrize("kind", ["euclidean", "cosine"])
def test_the_distance_is_that_of_full_matching(mode, kind):
    chance = np.random.default_rng(0)

    def persons(count, camid):
        features = make_features(
            [torch.from_numpy(chance.normal(size=(count, 8)))],
            torch.from_numpy(chance.normal(size=(count, 3, 8))),
            torch.from_numpy(chance.random((count, 3))),
        )
        return Persons(features, chance.integers(0, 3, count), np.full(count, camid))

    query, gallery = persons(5, 0), persons(30, 1)
    found = measure_verification(query, gallery, mode=mode, group_distance=kind)
    distances = np.zeros((5, 30))
    for q in range(5):
        for g in range(30):
            total = 1 - float(query.features.globals[q] @ gallery.features.globals[g])
            for part in range(3):
                of_query, of_gallery = query.features.confidence[q, part], gallery.features.confidence[g, part]
                squares = {
                    "query-gallery": of_query * of_gallery,
                    "query": of_query,
                    "gallery": of_gallery,
                    "none": 1,
                    "even": 1 / 9,
                }
                a, b = query.features.groups[part, q], gallery.features.groups[part, g]
                apart = float((a - b).norm()) if kind == "euclidean" else 1 - float(a @ b)
                total += math.sqrt(squares[mode]) * apart
            distances[q, g] = total
    same, different = pairs_of(distances, query.pids, gallery.pids, query.camids, gallery.camids, False)
    assert found.pairs == (len(same), len(different))
    for rate in (0.01, 0.1):
        point = found.at_false_positive_rate(rate)
        assert (point.true_positive_rate, point.false_positive_rate) == rates(same, different, point.threshold)


def test_the_fit_is_where_the_likelihood_of_all_pairs_is_highest():
    chance = np.random.default_rng(1)
    distances = np.concatenate([chance.normal(1.0, 0.3, 40), chance.normal(1.8, 0.4, 4000)])
    same = np.arange(4040) < 40
    fit = fit_logistic(distances, same.astype(float), (~same).astype(float))

    def loss(offset, slope):
        total = 0.0
        for distance, one in zip(distances, same, strict=True):
            likely = 1 / (1 + math.exp(slope * distance - offset))
            target = 41 / 42 if one else 1 / 4002
            total -= target * math.log(likely) + (1 - target) * math.log(1 - likely)
        return total

    best = loss(fit.offset, fit.slope)
    assert all(loss(fit.offset + a, fit.slope + b) > best for a, b in [(1e-3, 0), (-1e-3, 0), (0, 1e-3), (0, -1e-3)])
    assert sum(map(fit.probability, distances)) == pytest.approx(40, abs=2)
    assert fit.probability(0.5) > 0.5 > fit.probability(2)


@given(
    seed=st.integers(0, 10**6),
    few=st.integers(1, 300),
    many=st.integers(1, 10**6),
    apart=st.floats(0, 3),
    wide=st.floats(0.05, 1),
)
def test_the_fit_does_not_depend_on_the_order_of_its_sums(seed, few, many, apart, wide):
    chance = np.random.default_rng(seed)
    distances = np.arange(3000) / 1000 + 0.0005
    same = chance.multinomial(few, _bell(distances, 1.5 - apart / 2, wide)).astype(float)
    different = chance.multinomial(many, _bell(distances, 1.5 + apart / 2, wide)).astype(float)
    order = chance.permutation(3000)
    fit, again = fit_logistic(distances, same, different), fit_logistic(distances[order], same[order], different[order])
    # Two or three pairs in a narrow band hardly bend the loss, and rounding then reaches the last of the 12 digits that
    # are kept: in 40 of 6,000 such cases, by 7e-12 at most.
    assert (again.offset, again.slope) == pytest.approx((fit.offset, fit.slope), rel=1e-10, abs=1e-10)


def _bell(values, middle, width):
    heights = np.exp(-(((values - middle) / width) ** 2))
    return heights / heights.sum()


@pytest.mark.parametrize("gap", [0.0, 5.0])
def test_a_fit_without_overlap_or_without_difference_is_finite(gap):
    fit = fit_logistic(np.array([1.0, 1.0 + gap]), np.array([3.0, 0.0]), np.array([0.0, 900.0]))
    assert math.isfinite(fit.offset)
    assert math.isfinite(fit.slope)


def test_nan_is_told():
    with pytest.raises(DataError, match="is NaN"):
        counted((np.array([[np.nan]], np.float32), [1], [1], [0], [1]))
