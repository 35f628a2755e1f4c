"""Re-ranking against full matrices and plain loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pirt.ranking.matching import Features, global_distances, make_features
from pirt.ranking.params import RerankParams
from pirt.ranking.rerank import Reranker


def people(count: int, generator: torch.Generator) -> Features:
    centres = torch.randn(4, 6, dtype=torch.float64, generator=generator)
    chosen = torch.randint(0, 4, (count,), generator=generator)
    noise = torch.randn(count, 6, dtype=torch.float64, generator=generator)
    return make_features([centres[chosen] + 0.7 * noise])


def oracle(query: Features, gallery: Features, k1: int, k2: int, share: float) -> list[list[float]]:
    unit = torch.cat([query.globals, gallery.globals])
    raw = (1 - unit @ unit.T).tolist()
    count = len(raw)
    distance = [[value / max(row) for value in row] for row in raw]
    order = [sorted(range(count), key=lambda j, i=i: -math.inf if j == i else raw[i][j]) for i in range(count)]

    def reciprocal(i: int, k: int) -> set[int]:
        return {j for j in order[i][: k + 1] if i in order[j][: k + 1]}

    codes = []
    for i in range(count):
        near = reciprocal(i, k1)
        named = set(near)
        for j in near:
            joining = reciprocal(j, round(k1 / 2))
            if len(joining & near) > 2 / 3 * len(joining):
                named |= joining
        total = sum(math.exp(-distance[i][j]) for j in named)
        codes.append([math.exp(-distance[i][j]) / total if j in named else 0.0 for j in range(count)])
    codes = [
        [sum(codes[j][column] for j in order[i][:k2]) / len(order[i][:k2]) for column in range(count)]
        for i in range(count)
    ]
    found = []
    for q in range(len(query)):
        row = []
        for m in range(len(query), count):
            smaller = sum(map(min, codes[q], codes[m]))
            larger = sum(map(max, codes[q], codes[m]))
            row.append((1 - share) * (1 - smaller / larger) + share * distance[q][m])
        found.append(row)
    return found


@given(st.integers(1, 4), st.integers(2, 20), st.integers(1, 8), st.integers(1, 5), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_equals_loops(queries, images, k1, k2, seed):
    generator = torch.Generator().manual_seed(seed)
    query, gallery = people(queries, generator), people(images, generator)
    reranker = Reranker(query, gallery, RerankParams(k1=k1, k2=k2, original=0.3))
    expected = oracle(query, gallery, k1, k2, 0.3)
    for q in range(queries):
        rows = slice(q, q + 1)
        found = reranker.distances(rows, global_distances(query[rows], gallery))
        assert found[0].tolist() == pytest.approx(expected[q], abs=1e-9)
