"""CMC, mAP and mINP of ranked galleries, exact and without sorting them.

Only the positions of a query's true matches matter, so each position is counted: the number of valid gallery
images that are nearer, and of equally near ones that stand earlier in the gallery.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from pirt.core.errors import DataError
from pirt.core.pids import DISTRACTOR_PID, JUNK_PID

AveragePrecision = Literal["step", "trapezoid"]
Unmatched = Literal["skip", "zero"]
Junk = Literal["drop", "keep"]

Integers: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[Any]

_LANES = 8  # bytes in the 64-bit words that are added instead of single bytes
_WORDS = 255  # as many as can be added before a byte overflows
_COLUMNS = 8 * _LANES * _WORDS  # of the gallery at a time: small for the cache, large for numpy's vector loops
_QUERIES = 64  # that a thread takes at a time
_SORT_FROM = 128  # matches of one query from which sorting its row is faster than counting


@dataclass(frozen=True)
class RankMetrics:
    """What one ranking is worth; all values are fractions from 0 to 1.

    `cmc[r - 1]` is the share of queries with a match among their first r images. `num_queries` counts all
    queries; the `num_skipped` of them that have no valid match are in none of the means. `places` holds, for each
    query, the ascending places from 0 of its matches among the images that the protocol leaves in, and
    `average_precisions` what they are worth, NaN for a query without a match.
    """

    cmc: NDArray[np.float64]
    mAP: float  # noqa: N815  (the field's name)
    mINP: float  # noqa: N815
    num_queries: int
    num_skipped: int
    places: tuple[Integers, ...]
    average_precisions: NDArray[np.float64]


def rank_metrics(
    distances: Floats | torch.Tensor,
    query_pids: ArrayLike,
    gallery_pids: ArrayLike,
    query_camids: ArrayLike,
    gallery_camids: ArrayLike,
    max_rank: int = 50,
    *,
    average_precision: AveragePrecision = "step",
    unmatched: Unmatched = "skip",
    junk: Junk = "drop",
) -> RankMetrics:
    """Rank the gallery of every query and measure the rankings.

    Args:
        distances: queries × gallery, smaller is nearer. Infinities are allowed, NaN is a `DataError`. Among equal
            distances the image that stands earlier in the gallery ranks first.
        query_pids, query_camids: one integer a query.
        gallery_pids, gallery_camids: one integer a gallery image; pid −1 is junk, pid 0 a distractor. Queries of
            these pids have no match.
        max_rank: length of the CMC curve.
        average_precision: "step", or "trapezoid" as in Market-1501's first evaluation program.
        unmatched: "skip" leaves queries without a valid match out, "zero" counts them as 0 in every mean.
        junk: "drop" takes gallery pid −1 out of the ranking, "keep" leaves it in as distractors.

    Gallery images of the query's own pid and camera are always taken out.
    """
    meter = RankMeter(
        gallery_pids,
        gallery_camids,
        max_rank,
        average_precision=average_precision,
        unmatched=unmatched,
        junk=junk,
    )
    meter.update(distances, query_pids, query_camids)
    return meter.compute()


class RankMeter:
    """`rank_metrics` for distances that come in blocks of queries; the sum of blocks equals the whole."""

    def __init__(
        self,
        gallery_pids: ArrayLike,
        gallery_camids: ArrayLike,
        max_rank: int = 50,
        *,
        average_precision: AveragePrecision = "step",
        unmatched: Unmatched = "skip",
        junk: Junk = "drop",
    ) -> None:
        self._gallery = _Gallery(_integers(gallery_pids, "gallery_pids"), _integers(gallery_camids, "gallery_camids"))
        if max_rank < 1:
            raise DataError(f"max_rank is {max_rank}, expected at least 1")
        self._max_rank = max_rank
        self._trapezoid = average_precision == "trapezoid"
        self._unmatched = unmatched
        self._junk = self._gallery.junk if junk == "drop" else self._gallery.junk[:0]
        self._positions: list[Integers] = []

    def update(self, distances: Floats | torch.Tensor, query_pids: ArrayLike, query_camids: ArrayLike) -> None:
        """Add a block of queries: distances queries × gallery, one pid and camid a query."""
        pids, camids = _integers(query_pids, "query_pids"), _integers(query_camids, "query_camids")
        if isinstance(distances, torch.Tensor):
            # NumPy has no bfloat16.
            distances = distances.detach().cpu()
            distances = (distances.float() if distances.dtype == torch.bfloat16 else distances).numpy()
        rows = np.asarray(distances)
        expected = (len(pids), self._gallery.size)
        if rows.shape != expected or len(camids) != len(pids):
            raise DataError(
                f"distances are {rows.shape}, expected queries × gallery {expected}, for {len(camids)} query camids"
            )
        blocks = [slice(first, first + _QUERIES) for first in range(0, len(rows), _QUERIES)]
        done = len(self._positions)
        # NumPy works without Python's lock; as many threads as PyTorch was told to use.
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            work = [pool.submit(self._positions_of, rows, pids, camids, block, done) for block in blocks]
            try:
                for found in work:
                    self._positions += found.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _positions_of(self, rows: Floats, pids: Integers, camids: Integers, block: slice, done: int) -> list[Integers]:
        """Return the positions of the matches of a block's queries; messages count queries from `done`."""
        counter = _Counter(self._gallery.size, np.result_type(rows.dtype, np.float32))
        positions = []
        queries = zip(rows[block], pids[block].tolist(), camids[block].tolist(), strict=True)
        for number, (row, pid, camid) in enumerate(queries, done + block.start):
            matches, same_camera = self._gallery.of(pid, camid)
            counter.load(row, (self._junk, same_camera), number)
            positions.append(counter.positions(matches))
        return positions

    def compute(self) -> RankMetrics:
        """Measure all queries so far."""
        skipped = sum(not len(positions) for positions in self._positions) if self._unmatched == "skip" else 0
        measured = len(self._positions) - skipped
        hits = np.zeros(self._max_rank, dtype=np.int64)
        precisions, penalties = np.full(len(self._positions), np.nan), []
        for query, positions in enumerate(self._positions):
            if not len(positions):
                continue
            if positions[0] < self._max_rank:
                hits[positions[0]] += 1
            precisions[query] = _average_precision(positions, self._trapezoid)
            penalties.append(len(positions) / (int(positions[-1]) + 1))
        return RankMetrics(
            cmc=hits.cumsum() / max(measured, 1),
            # Exact sums, so that blocks of queries in any order come to the same last bit.
            mAP=math.fsum(precisions[~np.isnan(precisions)]) / max(measured, 1),
            mINP=math.fsum(penalties) / max(measured, 1),
            num_queries=len(self._positions),
            num_skipped=skipped,
            places=tuple(self._positions),
            average_precisions=precisions,
        )


class _Gallery:
    """The gallery images of every pid, found without comparing all pids for each query."""

    def __init__(self, pids: Integers, camids: Integers) -> None:
        if len(pids) != len(camids):
            raise DataError(f"{len(pids)} gallery pids and {len(camids)} gallery camids, expected as many of both")
        self.size = len(pids)
        self._camids = camids
        self._order = np.argsort(pids, kind="stable")
        self._sorted = pids[self._order]
        self.junk = self._images(JUNK_PID)

    def _images(self, pid: int) -> Integers:
        return self._order[slice(*np.searchsorted(self._sorted, [pid, pid + 1]))]

    def of(self, pid: int, camid: int) -> tuple[Integers, Integers]:
        """Return the valid matches of a query and its images of the same camera, in gallery order."""
        images = self._images(pid)
        other_camera = self._camids[images] != camid
        matches = images[other_camera] if pid > DISTRACTOR_PID else images[:0]  # which are nobody in particular
        return matches, images[~other_camera]


class _Counter:
    """Counts, for a row of distances, how many images rank before given ones."""

    def __init__(self, size: int, dtype: np.dtype[Any]) -> None:
        self._size = size
        # No comparison with NaN holds, so what is NaN here counts for nothing.
        self._row = np.full(-(-size // _COLUMNS) * _COLUMNS, np.nan, dtype=dtype)
        self._holds = np.empty((0, _COLUMNS), dtype=bool)

    def load(self, row: Floats, dropped: Sequence[Integers], number: int) -> None:
        """Take the distances of query `number`; the `dropped` columns will not be counted."""
        self._row[: self._size] = row
        if self._size and np.isnan(self._row[: self._size].min()):
            column = int(np.isnan(self._row).argmax())
            raise DataError(
                f"the distance of query {number} to gallery image {column} is NaN; check the features for NaN and zeros"
            )
        for columns in dropped:
            self._row[columns] = np.nan

    def positions(self, matches: Integers) -> Integers:
        """Return the ascending positions, from 0, of the gallery images `matches`."""
        if not len(matches):
            return matches
        thresholds = self._row[matches]
        nearer, not_farther = self._nearer(thresholds)
        for tied in np.flatnonzero(not_farther - nearer > 1):
            nearer[tied] += np.count_nonzero(self._row[: matches[tied]] == thresholds[tied])
        return np.sort(nearer)

    def _nearer(self, thresholds: Floats) -> tuple[Integers, Integers]:
        """For each threshold, how many distances are below it and how many are not above it."""
        if len(thresholds) < _SORT_FROM:
            return self._count(np.less, thresholds), self._count(np.less_equal, thresholds)
        row = np.sort(self._row)  # NaN goes last
        return row.searchsorted(thresholds, "left"), row.searchsorted(thresholds, "right")

    def _count(self, comparison: np.ufunc, thresholds: Floats) -> Integers:
        k = len(thresholds)
        if len(self._holds) < k:
            self._holds = np.empty((k, _COLUMNS), dtype=bool)
        holds = self._holds[:k]
        words = holds.view(np.uint64).reshape(k, -1, _WORDS)
        total = np.zeros(k, dtype=np.int64)
        for start in range(0, len(self._row), _COLUMNS):
            comparison(self._row[start : start + _COLUMNS], thresholds[:, None], out=holds)
            total += np.add.reduce(words, axis=2).view(np.uint8).sum(axis=1, dtype=np.int64)
        return total


def _average_precision(positions: Integers, trapezoid: bool) -> float:
    """Average precision of one query from the ascending positions of its matches."""
    total = 0.0
    for found, position in enumerate(positions.tolist()):
        precision = (found + 1) / (position + 1)
        if trapezoid:
            # That program lets the precision begin at 1.
            before = found / position if position else 1.0
            precision = (before + precision) / 2
        total += precision
    return total / len(positions)


def _integers(values: ArrayLike, name: str) -> Integers:
    array = np.asarray(values)
    if array.ndim != 1 or not (np.issubdtype(array.dtype, np.integer) or not array.size):
        raise DataError(f"{name} must be a list of integers, found {array.dtype} of shape {array.shape}")
    return array.astype(np.int64)
