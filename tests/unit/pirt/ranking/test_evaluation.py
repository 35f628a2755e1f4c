from itertools import pairwise

import numpy as np
import pytest
import torch

from pirt.core.errors import DataError
from pirt.ranking import evaluation, matching, verification
from pirt.ranking.evaluation import Persons, evaluate, query_blocks, require_valid_matches
from pirt.ranking.matching import make_features
from pirt.ranking.params import EvaluateParams, RerankParams
from pirt.ranking.verification import measure_verification


def valid(query_pids, gallery_pids, query_camids, gallery_camids):
    require_valid_matches(*map(np.array, (query_pids, gallery_pids, query_camids, gallery_camids)))


def test_one_valid_match_is_enough():
    valid([1, 2], [2, 3], [0, 0], [1, 0])


def test_only_own_camera_is_told():
    with pytest.raises(DataError, match="all from the query's own camera"):
        valid([1, 2], [1, 1], [0, 0], [0, 0])


def test_no_shared_identity_is_told():
    with pytest.raises(DataError, match="none of the 2 queries' identities is in the gallery"):
        valid([1, 2], [3, -1], [0, 0], [1, 1])


@pytest.mark.parametrize("pid", [-1, 0])
def test_junk_and_distractors_are_no_match(pid):
    with pytest.raises(DataError, match="none of the 1 queries' identities is in the gallery"):
        valid([pid], [pid], [0], [1])


def test_blocks_cover_all_queries_in_bounded_memory():
    blocks = list(query_blocks(1000, 1_000_000, 2))
    assert blocks[0].start == 0
    assert blocks[-1].stop == 1000
    assert all(a.stop == b.start for a, b in pairwise(blocks))
    assert max(block.stop - block.start for block in blocks) * 1_000_000 * 4 * 2 <= 256 << 20
    assert list(query_blocks(3, 10**12)) == [slice(0, 1), slice(1, 2), slice(2, 3)]


def test_reranking_changes_the_ranking_and_helps_clusters():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(12, 16, generator=generator)

    def persons(count, camid):
        pids = np.arange(count) % 12
        noise = torch.randn(count, 16, generator=generator)
        return Persons(make_features([centres[pids] + 1.2 * noise]), pids, np.full(count, camid))

    query, gallery = persons(24, 0), persons(240, 1)
    plain = evaluate(query, gallery, EvaluateParams())["none"].mAP
    reranked = evaluate(query, gallery, EvaluateParams(rerank=RerankParams()))["none"].mAP
    assert reranked > plain + 0.02


def random_persons(count, camid):
    generator = torch.Generator().manual_seed(count)
    draw = [torch.randn(count, *shape, generator=generator) for shape in ((16,), (16,), (3, 16))]
    confidence = torch.rand(count, 3, generator=generator)
    return Persons(make_features(draw[:2], draw[2], confidence), np.arange(count) % 7, np.full(count, camid))


@pytest.mark.parametrize("how", [{}, {"matching": "full"}, {"rerank": RerankParams(k1=5, k2=2)}, {"top_n": 1000}])
def test_a_gallery_larger_than_the_card_is_ranked_alike(monkeypatch, how):
    query, gallery = random_persons(20, 0), random_persons(150, 1)
    params = EvaluateParams(**({"top_n": 10} | how))
    resident = evaluate(query, gallery, params)
    brought, copies_of = [], []
    monkeypatch.setattr(evaluation, "within", lambda rows, device, copies: copies_of.append(copies) or rows)
    monkeypatch.setattr(matching, "_CHUNK", 64)
    monkeypatch.setattr(matching, "_is_elsewhere", lambda rows, device: brought.append(rows.shape[-2]) or True)
    streamed = evaluate(query, gallery, params)
    assert 150 in brought
    assert copies_of == [2 if "rerank" in how else 1]  # re-ranking joins queries and gallery
    for mode, metrics in resident.items():
        np.testing.assert_array_equal(streamed[mode].cmc, metrics.cmc)
        assert (streamed[mode].mAP, streamed[mode].mINP) == (metrics.mAP, metrics.mINP)


def test_pairs_of_a_gallery_larger_than_the_card_are_counted_alike(monkeypatch):
    query, gallery = random_persons(20, 0), random_persons(150, 1)
    resident = measure_verification(query, gallery, mode="query-gallery")
    brought, placed = [], []
    monkeypatch.setattr(matching, "_CHUNK", 64)
    monkeypatch.setattr(matching, "_is_elsewhere", lambda rows, device: brought.append(rows.shape[-2]) or True)
    monkeypatch.setattr(verification, "within", lambda features, device: placed.append(len(features)) or features)
    streamed = measure_verification(query, gallery, mode="query-gallery")
    assert 150 in brought
    assert placed == [150]
    np.testing.assert_array_equal(streamed.same, resident.same)
    np.testing.assert_array_equal(streamed.different, resident.different)


def test_a_gallery_goes_to_the_card_if_it_takes_half_of_what_is_free(monkeypatch):
    gallery = make_features([torch.ones(10, 4)], torch.ones(10, 3, 4), torch.ones(10, 3))
    moved = []
    monkeypatch.setattr(matching.Features, "to", lambda features, device: moved.append(device) or features)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device: tensor)
    bytes_ = 10 * 4 * 4 * (1 + 3)
    for free, copies, fits in ((2 * bytes_, 1, True), (2 * bytes_ - 1, 1, False), (4 * bytes_ - 1, 2, False)):
        moved.clear()
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, 80 << 30))
        evaluation.within(gallery, torch.device("cuda"), copies)
        assert bool(moved) is fits
