from itertools import pairwise

import numpy as np
import pytest
import torch

from pirt.core.errors import DataError
from pirt.ranking.evaluation import Persons, evaluate, query_blocks, require_valid_matches
from pirt.ranking.matching import make_features
from pirt.ranking.params import EvaluateParams, RerankParams


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
