"""Matching and metrics together, a block of queries at a time: the query × gallery matrix never exists."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from pirt.core.errors import DataError
from pirt.core.pids import DISTRACTOR_PID
from pirt.ranking.matching import (
    CONFIDENCE_MODES,
    ConfidenceMode,
    Features,
    coarse_to_fine,
    first_global_distances,
    fully,
    global_distances,
)
from pirt.ranking.metrics import Integers, RankMeter, RankMetrics
from pirt.ranking.params import EvaluateParams
from pirt.ranking.rerank import Reranker
from pirt.runs.precision import tf32

MatchingMode = Literal["coarse-to-fine", "full"]

_BLOCK_BYTES = 256 << 20  # of a block's distances
_BLOCK_QUERIES = 256


@dataclass(frozen=True)
class Persons:
    """Features of M images with one pid and camid each."""

    features: Features
    pids: Integers
    camids: Integers

    def __len__(self) -> int:
        return len(self.pids)


# With TF32's 10 bits near images would change places.
@tf32(allowed=False)
def evaluate(
    query: Persons,
    gallery: Persons,
    params: EvaluateParams,
    *,
    device: torch.device | None = None,
    progress: Callable[[int], object] = lambda queries: None,
) -> dict[ConfidenceMode, RankMetrics]:
    """Match every query with the gallery and measure the rankings.

    Models with parts are measured in each of Table 5's confidence modes, others as "none". With `params.rerank` the
    re-ranked distance takes the global distance's place, and `params.coarse` has to be "sum". `progress` is told the
    queries of each finished block.
    """
    require_valid_matches(query.pids, gallery.pids, query.camids, gallery.camids)
    modes: Sequence[ConfidenceMode] = ("none",) if query.features.groups is None else CONFIDENCE_MODES
    meters = {mode: make_meter(gallery.pids, gallery.camids, params) for mode in modes}
    device = device or query.features.globals.device
    # Re-ranking joins queries and gallery into one.
    searched = within(gallery.features, device, copies=1 if params.rerank is None else 2)
    ranker = Ranker(query.features.to(device), searched, params)
    # Of a block's size, in memory at once: the base, what is ranked by, and the distances by group.
    matrices = 1 + (params.coarse == "stripe")
    if gallery.features.groups is not None and params.matching == "full":
        matrices = 2 + len(gallery.features.groups)
    for rows in query_blocks(len(query), len(gallery), matrices):
        # Each is measured before the next is asked for, which overwrites its memory.
        for meter, ranking in zip(meters.values(), ranker.rankings(rows, ranker.base(rows), modes), strict=True):
            meter.update(ranking, query.pids[rows], query.camids[rows])
        progress(rows.stop - rows.start)
    return {mode: meter.compute() for mode, meter in meters.items()}


class Ranker:
    """What orders a gallery for blocks of queries, by the protocol of `params`."""

    def __init__(self, query: Features, gallery: Features, params: EvaluateParams) -> None:
        self._query, self._gallery, self._params = query, gallery, params
        self._reranker = None if params.rerank is None else Reranker(query, gallery, params.rerank)

    def base(self, rows: slice) -> torch.Tensor:
        """Return what parts are added to, the global or the re-ranked distance, of b queries: b×M."""
        distances = global_distances(self._query[rows], self._gallery)
        return distances if self._reranker is None else self._reranker.distances(rows, distances)

    def rankings(self, rows: slice, base: torch.Tensor, modes: Sequence[ConfidenceMode]) -> Iterator[torch.Tensor]:
        """Yield, for each of `modes`, a matrix b×M that orders each row as it is ranked; `base` may be overwritten."""
        query, how = self._query[rows], self._params
        if query.groups is None:
            yield base
        elif how.matching == "full":
            yield from fully(query, self._gallery, base, modes, how.group_distance)
        else:
            first = base if how.coarse == "sum" else first_global_distances(query, self._gallery)
            yield from coarse_to_fine(query, self._gallery, base, first, how.top_n, modes, how.group_distance)


def make_meter(gallery_pids: Integers, gallery_camids: Integers, params: EvaluateParams) -> RankMeter:
    """Return what measures the rankings of a gallery by the protocol of `params`."""
    return RankMeter(
        gallery_pids,
        gallery_camids,
        params.max_rank,
        average_precision=params.average_precision,
        unmatched=params.unmatched,
        junk=params.junk,
    )


def within(gallery: Features, device: torch.device, copies: int = 1) -> Features:
    """Put a gallery on `device` if `copies` of it take at most half of what is free, else its confidences alone."""
    needed = copies * (gallery.globals.nbytes + (0 if gallery.groups is None else gallery.groups.nbytes))
    # The other half is for the matrices of a block.
    if device.type != "cuda" or needed <= torch.cuda.mem_get_info(device)[0] / 2:
        return gallery.to(device)
    confidence = None if gallery.confidence is None else gallery.confidence.to(device)
    return replace(gallery, confidence=confidence)


def query_blocks(queries: int, gallery: int, matrices: int = 1) -> Iterator[slice]:
    """Cut the queries so that a block's matrices of distances stay small."""
    step = max(1, min(_BLOCK_QUERIES, _BLOCK_BYTES // (4 * matrices * max(gallery, 1))))
    for start in range(0, queries, step):
        yield slice(start, min(start + step, queries))


def require_valid_matches(
    query_pids: Integers, gallery_pids: Integers, query_camids: Integers, gallery_camids: Integers
) -> None:
    """Raise when no query at all has a match, which would make every metric 0."""
    cameras: dict[int, set[int]] = {}
    for pid, camid in zip(gallery_pids.tolist(), gallery_camids.tolist(), strict=True):
        cameras.setdefault(pid, set()).add(camid)
    queries = list(zip(query_pids.tolist(), query_camids.tolist(), strict=True))
    # A match comes from another camera: the protocol leaves the same person by the query's own camera out.
    if any(cameras.get(pid, set()) - {camid} for pid, camid in queries if pid > DISTRACTOR_PID):
        return
    shared = sum(pid in cameras for pid, _ in queries if pid > DISTRACTOR_PID)
    if not shared:
        raise DataError(
            f"none of the {len(queries)} queries' identities is in the gallery, so there is nothing to measure; "
            "check the manifest's pids"
        )
    raise DataError(
        f"every match of every query is excluded: {shared} of {len(queries)} queries have images of their identity in "
        "the gallery, but all from the query's own camera; for a data set without camera labels give the queries "
        "camid 0 and the gallery camid 1"
    )
