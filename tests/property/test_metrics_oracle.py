"""`rank_metrics` against plain loops over sorted lists."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pirt.ranking.metrics import RankMeter, rank_metrics


def oracle(distances, query_pids, gallery_pids, query_camids, gallery_camids, max_rank, trapezoid, zero, keep):
    precisions, penalties, firsts, skipped, all_places, by_query = [], [], [], 0, [], []
    for row, pid, camid in zip(distances, query_pids, query_camids, strict=True):
        ranking = []
        for column in sorted(range(len(row)), key=lambda column: (row[column], column)):
            if gallery_pids[column] == pid and gallery_camids[column] == camid:
                continue
            if gallery_pids[column] == -1 and not keep:
                continue
            ranking.append(gallery_pids[column] == pid and pid > 0)
        all_places.append([place for place, is_match in enumerate(ranking) if is_match])
        by_query.append(None)
        if not any(ranking):
            skipped += 1
            continue
        found, total, old_precision = 0, 0.0, 1.0
        for place, is_match in enumerate(ranking, 1):
            found += is_match
            precision = found / place
            if is_match:
                total += (old_precision + precision) / 2 if trapezoid else precision
                last = place
            old_precision = precision
        precisions.append(total / found)
        by_query[-1] = total / found
        penalties.append(found / last)
        firsts.append(ranking.index(True))
    count = len(precisions) + (skipped if zero else 0)
    cmc = [sum(first <= rank for first in firsts) / max(count, 1) for rank in range(max_rank)]
    means = [math.fsum(values) / max(count, 1) for values in (precisions, penalties)]
    return cmc, *means, len(query_pids), 0 if zero else skipped, all_places, by_query


@st.composite
def cases(draw):
    queries, gallery = draw(st.integers(0, 4)), draw(st.integers(1, 14))
    value = st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0, -1.0, math.inf, -math.inf]) | st.floats(
        allow_nan=False, width=32
    )
    pids, camids = st.integers(-1, draw(st.integers(0, 4))), st.integers(0, draw(st.integers(0, 2)))

    def some(strategy, count):
        return draw(st.lists(strategy, min_size=count, max_size=count))

    distances = np.array(some(value, queries * gallery)).reshape(queries, gallery)
    labels = some(pids, queries), some(pids, gallery), some(camids, queries), some(camids, gallery)
    return (distances.astype(draw(st.sampled_from([np.float32, np.float64]))), *labels)


options = st.tuples(st.integers(1, 20), st.booleans(), st.booleans(), st.booleans())


def measured(case, max_rank, trapezoid, zero, keep):
    found = rank_metrics(
        *case,
        max_rank=max_rank,
        average_precision="trapezoid" if trapezoid else "step",
        unmatched="zero" if zero else "skip",
        junk="keep" if keep else "drop",
    )
    places = [places.tolist() for places in found.places]
    by_query = [None if math.isnan(value) else value for value in found.average_precisions.tolist()]
    return found.cmc.tolist(), found.mAP, found.mINP, found.num_queries, found.num_skipped, places, by_query


@given(cases(), options)
@settings(max_examples=200, deadline=None)
def test_equals_plain_loops_exactly(case, option):
    assert measured(case, *option) == oracle(*case, *option)


@pytest.mark.slow
def test_equals_plain_loops_exactly_in_thousands_of_cases():
    random = np.random.default_rng(0)
    values = np.array([0, 0.25, 0.5, 1, -1, math.inf, -math.inf, *random.random(6)])
    for _ in range(4000):
        queries, gallery = int(random.integers(1, 4)), int(random.integers(1, 13))
        distances = random.choice(values[: random.integers(1, len(values) + 1)], (queries, gallery))
        people, cameras = int(random.integers(1, 5)), int(random.integers(1, 4))
        labels = [random.integers(-1, people, count).tolist() for count in (queries, gallery)]
        views = [random.integers(0, cameras, count).tolist() for count in (queries, gallery)]
        case = (distances.astype(random.choice([np.float32, np.float64])), *labels, *views)
        option = (int(random.integers(1, 20)), *random.integers(0, 2, 3).astype(bool).tolist())
        assert measured(case, *option) == oracle(*case, *option)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=12, deadline=None)
def test_many_matches(seed):
    random = np.random.default_rng(seed)
    gallery = int(random.integers(1, 3000))
    distances = random.integers(0, random.choice([3, 10**6]), (2, gallery)).astype(np.float32)
    case = (distances, [1, 2], random.integers(-1, 3, gallery), [0, 1], random.integers(0, 3, gallery))
    assert measured(case, 50, False, False, False) == oracle(*case, 50, False, False, False)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=12, deadline=None)
def test_large_galleries_of_few_distances(seed):
    random = np.random.default_rng(seed)
    queries, gallery = 2, int(random.integers(1, 40_000))
    distances = random.integers(0, random.choice([3, 1000, 10**6]), (queries, gallery)).astype(np.float32)
    labels = [random.integers(-1, gallery // 20 + 1, count) for count in (queries, gallery)]
    cameras = [random.integers(0, 3, count) for count in (queries, gallery)]
    case = (distances, *labels, *cameras)
    assert measured(case, 50, False, False, False) == oracle(*case, 50, False, False, False)


@given(cases(), st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_blocks_sum_to_the_whole(case, cut):
    distances, query_pids, gallery_pids, query_camids, gallery_camids = case
    meter = RankMeter(gallery_pids, gallery_camids)
    for block in (slice(0, cut), slice(cut, None)):
        meter.update(distances[block], query_pids[block], query_camids[block])
    whole, blocks = rank_metrics(*case), meter.compute()
    assert (blocks.mAP, blocks.mINP, blocks.num_skipped) == (whole.mAP, whole.mINP, whole.num_skipped)
    assert blocks.cmc.tolist() == whole.cmc.tolist()
