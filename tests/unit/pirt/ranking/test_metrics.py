import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pirt.core.errors import DataError
from pirt.ranking import metrics
from pirt.ranking.metrics import RankMeter, rank_metrics


def test_known_ranking():
    found = rank_metrics(np.array([[0.1, 0.2, 0.3, 0.4]]), [1], [2, 1, 2, 1], [0], [1, 1, 1, 1], max_rank=3)
    assert found.mAP == (1 / 2 + 2 / 4) / 2
    assert found.mINP == 2 / 4
    assert found.cmc.tolist() == [0.0, 1.0, 1.0]
    assert (found.num_queries, found.num_skipped) == (1, 0)


def test_same_camera_and_junk_do_not_count():
    distances = np.array([[0.1, 0.2, 0.3]])
    assert rank_metrics(distances, [1], [1, -1, 1], [0], [0, 1, 1]).mAP == 1.0
    assert rank_metrics(distances, [1], [1, -1, 1], [0], [0, 1, 1], junk="keep").mAP == 0.5


def test_distractors_stay():
    assert rank_metrics(np.array([[0.1, 0.2]]), [1], [0, 1], [0], [1, 1]).mAP == 0.5


def test_query_without_match_is_skipped_or_zero():
    arguments = (np.array([[0.1, 0.2], [0.1, 0.2]]), [1, 7], [1, 2], [0, 0], [1, 1])
    skipping = rank_metrics(*arguments)
    assert (skipping.mAP, skipping.cmc[0], skipping.num_queries, skipping.num_skipped) == (1.0, 1.0, 2, 1)
    zero = rank_metrics(*arguments, unmatched="zero")
    assert (zero.mAP, zero.mINP, zero.cmc[0], zero.num_skipped) == (0.5, 0.5, 0.5, 0)


def test_no_query_at_all():
    found = rank_metrics(np.zeros((0, 3)), [], [1, 2, 3], [], [1, 1, 1])
    assert (found.mAP, found.mINP, found.num_queries) == (0.0, 0.0, 0)


def test_trapezoid_follows_market_1501s_program():
    # Positions 0 and 2: recall steps of 1/2 over precisions (1, 1) and (1/2, 2/3).
    found = rank_metrics(np.array([[0.1, 0.2, 0.3]]), [1], [1, 2, 1], [0], [1, 1, 1], average_precision="trapezoid")
    assert found.mAP == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)


def test_earlier_gallery_image_wins_ties():
    assert rank_metrics(np.ones((1, 2)), [1], [1, 2], [0], [1, 1]).mAP == 1.0
    assert rank_metrics(np.ones((1, 2)), [1], [2, 1], [0], [1, 1]).mAP == 0.5


def test_infinities_are_ordered():
    distances = np.array([[math.inf, -math.inf, math.inf, 0.0]])
    assert rank_metrics(distances, [1], [1, 2, 2, 2], [0], [1, 1, 1, 1]).mAP == 1 / 3
    assert rank_metrics(distances, [1], [2, 1, 2, 2], [0], [1, 1, 1, 1]).mAP == 1.0


def test_nan_is_refused_by_place():
    with pytest.raises(DataError, match="query 1 to gallery image 2 is NaN"):
        rank_metrics(np.array([[0, 0, 0], [0, 0, np.nan]]), [1, 1], [1, 1, 1], [0, 0], [1, 1, 1])


def test_tensor_and_array_agree():
    distances = torch.rand(4, 9, generator=torch.Generator().manual_seed(0))
    arguments = ([1, 2, 3, 1], [1, 2, 3, 1, 2, 3, 0, -1, 1], [0, 0, 0, 1], [0, 1, 2, 0, 1, 2, 0, 1, 2])
    assert rank_metrics(distances, *arguments).mAP == rank_metrics(distances.numpy(), *arguments).mAP


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"distances": np.zeros((2, 4))}, r"\(2, 4\), expected queries × gallery \(2, 3\)"),
        ({"query_camids": [1]}, "1 query camids"),
        ({"gallery_camids": [1, 2]}, "3 gallery pids and 2 gallery camids"),
        ({"query_pids": [0.5, 1]}, "query_pids must be a list of integers"),
        ({"max_rank": 0}, "max_rank is 0"),
    ],
)
def test_wrong_arguments_are_told(change, told):
    arguments = {
        "distances": np.zeros((2, 3)),
        "query_pids": [1, 2],
        "gallery_pids": [1, 2, 3],
        "query_camids": [0, 0],
        "gallery_camids": [1, 1, 1],
    }
    with pytest.raises(DataError, match=told):
        rank_metrics(**(arguments | change))


def test_meter_reports_what_it_has_so_far():
    meter = RankMeter([1, 2], [1, 1])
    meter.update(np.array([[0.1, 0.2]]), [1], [0])
    assert meter.compute().mAP == 1.0
    meter.update(np.array([[0.1, 0.2]]), [2], [0])
    assert meter.compute().mAP == 0.75


def test_bfloat16_distances_are_ranked():
    found = rank_metrics(torch.tensor([[0.3, 0.1, 0.2]], dtype=torch.bfloat16), [1], [2, 2, 1], [0], [1, 1, 1])
    assert found.mAP == 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, np.uint8])
@pytest.mark.parametrize("matches", [3, 200])
def test_matrices_of_any_type_and_layout(dtype: np.typing.DTypeLike, matches: int) -> None:
    chance = np.random.default_rng(0)
    distances = chance.integers(0, 50, (9, 5 * matches)).astype(dtype)
    labels = [chance.integers(-1, 4, count) for count in distances.shape]
    cameras = [chance.integers(0, 3, count) for count in distances.shape]
    expected = rank_metrics(distances.astype(np.float32), *labels, *cameras).places
    twice = np.repeat(distances, 2, axis=1)[:, ::2]
    for same in (distances, np.asfortranarray(distances), twice, distances[::-1].copy()[::-1]):
        found = rank_metrics(same, *labels, *cameras).places
        assert [places.tolist() for places in found] == [places.tolist() for places in expected]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_queries_on_several_threads_stay_in_order(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(metrics, "_QUERIES", 3)
    monkeypatch.setattr(metrics, "_CELLS", 2 * 40)  # two rows
    chance = np.random.default_rng(0)
    distances, pids = chance.integers(0, 9, (20, 40)).astype(np.float32), chance.integers(1, 5, 60)
    camids = chance.integers(0, 3, 60)
    meter = RankMeter(pids[20:], camids[20:])
    for rows in (slice(0, 11), slice(11, 20)):
        meter.update(distances[rows], pids[:20][rows], camids[:20][rows])
    for query, places in enumerate(meter.compute().places):
        alone = rank_metrics(distances[[query]], pids[[query]], pids[20:], camids[[query]], camids[20:])
        assert places.tolist() == alone.places[0].tolist()
    distances[[13, 19], 7] = np.nan
    with pytest.raises(DataError, match="query 13 to gallery image 7 is NaN"):
        rank_metrics(distances, pids[:20], pids[20:], camids[:20], camids[20:])


def _ranks_apart(**environment: str) -> None:
    program = "from pirt.ranking.metrics import rank_metrics as r; print(r([[0.3, 0.1]], [1], [1, 2], [0], [1, 1]).mAP)"
    ran = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert ran.stdout == "0.5\n", ran.stderr


def test_ranks_where_compiled_code_cannot_be_kept() -> None:
    # Numba then looks for notebooks alone, of which there is none.
    _ranks_apart(NUMBA_CACHE_LOCATOR_CLASSES="IPythonCacheLocator")


def test_ranks_where_kept_compiled_code_is_damaged(tmp_path: Path) -> None:
    _ranks_apart(NUMBA_CACHE_DIR=str(tmp_path))
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    for path in kept:
        path.write_bytes(b"")
    _ranks_apart(NUMBA_CACHE_DIR=str(tmp_path))


def test_a_block_with_nan_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    meter = RankMeter([1, 2], [1, 1])
    with pytest.raises(DataError, match="query 1 to gallery image 0 is NaN"):
        meter.update(np.array([[0.1, 0.2], [np.nan, 0.2]]), [1, 2], [0, 0])
    meter.update(np.array([[0.1, 0.2], [0.3, 0.2]]), [1, 2], [0, 0])
    assert meter.compute().num_queries == 2


@pytest.mark.parametrize("dtype", [np.longdouble, np.complex64, object])
def test_distances_of_another_kind_are_refused(dtype: np.typing.DTypeLike) -> None:
    with pytest.raises(DataError, match="expected whole numbers or floats"):
        rank_metrics(np.zeros((1, 1), dtype), [1], [1], [0], [1])


def test_pids_beyond_64_bits_are_refused() -> None:
    with pytest.raises(DataError, match="gallery_pids holds a number beyond 64 bits"):
        rank_metrics(np.zeros((1, 1)), [1], np.array([2**63], np.uint64), [0], [1])
