"""CMC, mAP and mINP of ranked galleries, exact and without sorting them.

Only the positions of a query's true matches matter, so each position is counted: the number of valid gallery
images that are nearer, and of equally near ones that stand earlier in the gallery.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, TypeAlias

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

_QUERIES = 128  # whose matches are looked up at a time
_CELLS = 1 << 17  # of distances that are copied at a time, at most: they stay in the processor's cache


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
        if rows.dtype.kind not in "fiub" or rows.dtype.itemsize > 8:
            raise DataError(f"distances are {rows.dtype}, expected whole numbers or floats of at most 64 bits")
        # Here, since Numba takes half a second to import, and most of what imports this ranks nothing.
        from pirt.ranking.counting import places_kernel

        # Of floating point whatever the distances are: what is left out becomes NaN.
        dtype = np.result_type(rows.dtype, np.float32)
        kernel, done = places_kernel(dtype), len(self._positions)
        threads = torch.get_num_threads()  # the loops run without Python's lock; as many as PyTorch was told to use
        share = max(1, -(-len(rows) // threads))
        with ThreadPoolExecutor(threads) as pool:
            work = [
                pool.submit(self._positions_of, rows[some], pids[some], camids[some], dtype, kernel, done + some.start)
                for some in (slice(first, first + share) for first in range(0, len(rows), share))
            ]
        # All or none: after an error, the same block can be given again.
        self._positions += [positions for found in work for positions in found.result()]

    def _positions_of(
        self,
        rows: Floats,
        pids: Integers,
        camids: Integers,
        dtype: np.dtype[Any],
        kernel: Callable[..., int],
        done: int,
    ) -> list[Integers]:
        """Return the positions of the matches of some queries; messages count queries from `done`."""
        few = max(1, _CELLS // max(self._gallery.size, 1))
        positions: list[Integers] = []
        for first in range(0, len(rows), _QUERIES):
            queries = slice(first, first + _QUERIES)
            images, matching = self._gallery.of(pids[queries], camids[queries])
            # Nearest first, and of equally near ones the first in the gallery; what is no match goes last, as NaN.
            distances = np.where(matching, np.take_along_axis(rows[queries], images, axis=1), np.nan)
            order = distances.argsort(axis=1, kind="stable")
            columns, counts = np.take_along_axis(images, order, axis=1), matching.sum(axis=1)
            thresholds = np.take_along_axis(distances, order, axis=1).astype(dtype, copy=False)
            places = np.empty(images.shape, dtype=np.int64)
            for start in range(0, len(images), few):
                some = slice(start, start + few)
                copied = rows[queries][some].astype(dtype, order="C")
                bad = kernel(
                    copied, images[some], self._junk, counts[some], thresholds[some], columns[some], places[some]
                )
                if bad >= 0:
                    query = first + start + bad
                    _refuse_nan(rows[query], done + query)
            positions += [row[:count] for row, count in zip(places, counts.tolist(), strict=True)]
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
            # mINP looks at the last match alone: how far down a user would have to look for all of them.
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
        # Stable, so that each person's images stay in gallery order, which breaks ties.
        self._order = np.argsort(pids, kind="stable")
        self._sorted = pids[self._order]
        self.junk = np.flatnonzero(pids == JUNK_PID)

    def of(self, pids: Integers, camids: Integers) -> tuple[Integers, NDArray[np.bool_]]:
        """Return the images of b persons, b×w in gallery order, and which are valid matches.

        Rows are filled up with their last image, which then is no match.
        """
        first, last = (self._sorted.searchsorted(pids, side) for side in ("left", "right"))
        last[pids <= DISTRACTOR_PID] = 0  # who are nobody in particular
        places = first[:, None] + np.arange((last - first).max(initial=0))
        images = self._order[np.clip(places, 0, np.maximum(last, 1)[:, None] - 1)]
        # The person's images by the query's own camera are no matches, and are left out of the ranking.
        return images, (places < last[:, None]) & (self._camids[images] != camids[:, None])


def _refuse_nan(row: Floats, query: int) -> NoReturn:
    place = f"query {query} to gallery image {int(np.isnan(row).argmax())}"
    raise DataError(f"the distance of {place} is NaN; check the features for NaN and zeros")


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
    if array.dtype == np.uint64 and array.max(initial=0) > np.iinfo(np.int64).max:
        raise DataError(f"{name} holds a number beyond 64 bits with a sign")
    return array.astype(np.int64)
