"""Matching against plain loops over single images, groups and channels."""

import math
from itertools import pairwise
from typing import get_args

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from pirt.nearest import rank_gallery
from pirt.ranking.evaluation import Persons, evaluate
from pirt.ranking.matching import (
    CONFIDENCE_MODES,
    Coarse,
    Features,
    GroupDistance,
    coarse_to_fine,
    find_candidates,
    first_global_distances,
    fully,
    global_distances,
    make_features,
    nearest,
    places_of,
)
from pirt.ranking.metrics import rank_metrics
from pirt.ranking.params import EvaluateParams

kinds = st.sampled_from(get_args(GroupDistance))
sizes = st.tuples(
    st.integers(1, 5),
    st.integers(1, 12),
    st.integers(1, 2),
    st.integers(1, 3),
    st.integers(1, 7),
    st.integers(0, 2**31),
)


def random_features(count: int, S: int, G: int, C: int, generator: torch.Generator) -> tuple[Features, list[Tensor]]:
    """Features, and the raw outputs that they were made of."""
    raw = [torch.randn(count, C, dtype=torch.float64, generator=generator) for _ in range(S)]
    groups = torch.randn(count, G, C, dtype=torch.float64, generator=generator)
    confidence = torch.rand(count, G, dtype=torch.float64, generator=generator)
    confidence /= confidence.sum(dim=1, keepdim=True)
    return make_features(raw, groups, confidence), [*raw, groups, confidence]


def norm(vector: list[float]) -> float:
    return math.sqrt(sum(value * value for value in vector))


def loop_global(query: list[Tensor], gallery: list[Tensor], q: int, m: int) -> float:
    total = 0.0
    for of_query, of_gallery in zip(query[:-2], gallery[:-2], strict=True):
        a, b = of_query[q].tolist(), of_gallery[m].tolist()
        total += 1 - sum(x * y for x, y in zip(a, b, strict=True)) / (norm(a) * norm(b))
    return total


def loop_stripe(query: list[Tensor], gallery: list[Tensor], q: int, m: int) -> float:
    return loop_global([query[0], *query[-2:]], [gallery[0], *gallery[-2:]], q, m)


def loop_fine(query: list[Tensor], gallery: list[Tensor], q: int, m: int, mode: str, kind: str) -> float:
    total = loop_global(query, gallery, q, m)
    G = query[-1].shape[1]
    for g in range(G):
        a, b = query[-2][q, g].tolist(), gallery[-2][m, g].tolist()
        distance = norm([x / norm(a) - y / norm(b) for x, y in zip(a, b, strict=True)])
        if kind == "cosine":
            distance = 1 - sum(x * y for x, y in zip(a, b, strict=True)) / (norm(a) * norm(b))
        c_q, c_g = float(query[-1][q, g]), float(gallery[-1][m, g])
        weight = {
            "query-gallery": math.sqrt(c_q * c_g),
            "query": math.sqrt(c_q),
            "gallery": math.sqrt(c_g),
            "none": 1.0,
            "even": 1 / G,
        }[mode]
        total += weight * distance
    return total


def drawn(size):
    b, M, S, G, C, seed = size
    generator = torch.Generator().manual_seed(seed)
    query, query_raw = random_features(b, S, G, C, generator)
    gallery, gallery_raw = random_features(M, S, G, C, generator)
    return query, gallery, query_raw, gallery_raw


@given(sizes, kinds)
@settings(max_examples=30, deadline=None)
def test_global_and_full_distances_equal_loops(size, kind):
    query, gallery, query_raw, gallery_raw = drawn(size)
    distances = global_distances(query, gallery)
    for q in range(len(query)):
        for m in range(len(gallery)):
            assert distances[q, m].item() == pytest.approx(loop_global(query_raw, gallery_raw, q, m), abs=1e-9)
            stripe = first_global_distances(query, gallery)[q, m].item()
            assert stripe == pytest.approx(loop_stripe(query_raw, gallery_raw, q, m), abs=1e-9)
    for mode, found in zip(CONFIDENCE_MODES, fully(query, gallery, distances, CONFIDENCE_MODES, kind), strict=True):
        for q in range(len(query)):
            for m in range(len(gallery)):
                # ‖a − b‖² = 2 − 2ab costs digits near 0.
                expected = loop_fine(query_raw, gallery_raw, q, m, mode, kind)
                assert found[q, m].item() == pytest.approx(expected, abs=1e-6)


@example((3, 8, 2, 3, 1, 5), 4, "euclidean", "stripe")  # two distances that are 4, but for rounding
@given(sizes, st.integers(1, 15), kinds, st.sampled_from(get_args(Coarse)))
@settings(max_examples=30, deadline=None)
def test_coarse_to_fine_orders_as_loops_do(size, top_n, kind, coarse):
    query, gallery, query_raw, gallery_raw = drawn(size)
    distances = global_distances(query, gallery)
    by_coarse = first_global_distances(query, gallery) if coarse == "stripe" else distances
    loop_coarse = loop_stripe if coarse == "stripe" else loop_global
    candidates = find_candidates(query, gallery, distances, by_coarse, top_n, kind)
    rankings = coarse_to_fine(query, gallery, distances, by_coarse.clone(), top_n, CONFIDENCE_MODES, kind)
    for mode, ranking in zip(CONFIDENCE_MODES, rankings, strict=True):
        fine = candidates.distances(mode)
        for q in range(len(query)):
            order = sorted(range(len(gallery)), key=lambda m, q=q: (loop_coarse(query_raw, gallery_raw, q, m), m))
            top, rest = order[:top_n], order[top_n:]
            found = ranking[q].argsort(stable=True).tolist()
            assert (sorted(found[:top_n]), found[top_n:]) == (sorted(top), rest)
            loops = [loop_fine(query_raw, gallery_raw, q, m, mode, kind) for m in found[:top_n]]
            # Sums in another order round otherwise, so what is the same but for that may stand either way.
            assert all(near <= far + 1e-6 for near, far in pairwise(loops))
            for column, value in zip(candidates.columns[q].tolist(), fine[q].tolist(), strict=True):
                assert value == pytest.approx(loop_fine(query_raw, gallery_raw, q, column, mode, kind), abs=1e-6)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_nearest_takes_the_earlier_of_equals(data):
    b, M = data.draw(st.integers(0, 4)), data.draw(st.integers(1, 20))
    values = data.draw(st.lists(st.integers(0, 4), min_size=b * M, max_size=b * M))
    distances = torch.tensor(values, dtype=torch.float32).view(b, M)
    count = data.draw(st.integers(1, 24))
    expected = [sorted(sorted(range(M), key=lambda m, row=row: (row[m], m))[:count]) for row in distances.tolist()]
    assert nearest(distances, count).tolist() == expected
    for row, places in zip(distances.tolist(), places_of(distances).tolist(), strict=True):
        order = sorted(range(M), key=lambda m, row=row: (row[m], m))
        assert [order.index(m) for m in range(M)] == places


@given(
    sizes,
    st.sampled_from([("coarse-to-fine", "sum"), ("coarse-to-fine", "stripe"), ("full", "sum")]),
    st.integers(1, 15),
    kinds,
)
@settings(max_examples=30, deadline=None)
def test_blocks_measure_what_the_whole_matrix_does(size, how, top_n, kind):
    mode, coarse = how
    query, gallery, _, _ = drawn(size)
    generator = torch.Generator().manual_seed(size[-1])

    def labels(count, high):
        return torch.randint(1, high + 1, (count,), generator=generator).numpy()  # 0 is a distractor

    gallery_labels = labels(len(gallery), 3), labels(len(gallery), 3)
    query_labels = labels(len(query), 3), labels(len(query), 3)
    query_labels[0][0], query_labels[1][0] = gallery_labels[0][0], gallery_labels[1][0] + 1  # one valid match
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pirt.ranking.evaluation._BLOCK_QUERIES", 2)
        found = evaluate(
            Persons(query, *query_labels),
            Persons(gallery, *gallery_labels),
            EvaluateParams(matching=mode, top_n=top_n, coarse=coarse, group_distance=kind),
        )
    distances = global_distances(query, gallery)
    by_coarse = first_global_distances(query, gallery) if coarse == "stripe" else distances.clone()
    match = fully(query, gallery, distances, CONFIDENCE_MODES, kind) if mode == "full" else None
    match = match or coarse_to_fine(query, gallery, distances, by_coarse, top_n, CONFIDENCE_MODES, kind)
    for name, ranking in zip(CONFIDENCE_MODES, match, strict=True):
        whole = rank_metrics(ranking, query_labels[0], gallery_labels[0], query_labels[1], gallery_labels[1])
        assert (found[name].mAP, found[name].mINP) == (whole.mAP, whole.mINP)


@given(sizes, st.integers(1, 15), st.integers(1, 15), st.sampled_from(CONFIDENCE_MODES), kinds)
@settings(max_examples=30, deadline=None)
def test_rank_lists_are_the_rankings_that_are_measured(size, top_n, top_k, mode, kind):
    query, gallery, query_raw, gallery_raw = drawn(size)
    distances = global_distances(query, gallery)
    (ranking,) = coarse_to_fine(query, gallery, distances, distances.clone(), top_n, [mode], kind)
    found = rank_gallery(query, gallery, top_k, top_n, mode, kind)
    assert found.images.tolist() == ranking.argsort(dim=1, stable=True)[:, :top_k].tolist()
    for q, (images, values) in enumerate(zip(found.images.tolist(), found.distances.tolist(), strict=True)):
        for place, (m, value) in enumerate(zip(images, values, strict=True)):
            loop = loop_fine(query_raw, gallery_raw, q, m, mode, kind) if place < top_n else distances[q, m].item()
            assert value == pytest.approx(loop, abs=1e-6)
