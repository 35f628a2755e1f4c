"""The nearest images of each query in order, for people to look at."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pirt.ranking.matching import (
    DEFAULT_MODE,
    Candidates,
    ConfidenceMode,
    Features,
    GroupDistance,
    candidate_group_distances,
    global_distances,
    parts_of,
)

Parts = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Gives unit group features G×n×C and confidences n×G of n ascending gallery images."""


@dataclass(frozen=True)
class RankLists:
    """The first k gallery images of b queries, nearest first.

    `images` and `distances`: b×k. The distance is global and by parts for the first N, global alone behind them.
    """

    images: Tensor
    distances: Tensor


def rank_gallery(
    query: Features,
    gallery: Features,
    top_k: int,
    top_n: int = 100,
    mode: ConfidenceMode = DEFAULT_MODE,
    kind: GroupDistance = "euclidean",
) -> RankLists:
    """Rank a gallery in memory, coarse-to-fine where the features have parts."""
    distances = global_distances(query, gallery)
    # The top N even where fewer are shown: the parts may bring any of them to the front.
    order = distances.argsort(dim=1, stable=True)[:, : max(top_k, top_n)]
    coarse = RankLists(order, distances.gather(1, order))
    if query.groups is None:
        return first(coarse, top_k)
    groups, confidence = parts_of(gallery)
    fine = refine(query, coarse, lambda images: (groups[:, images], confidence[images]), top_n, mode, kind)
    return first(fine, top_k)


def refine(
    query: Features, coarse: RankLists, parts: Parts, top_n: int, mode: ConfidenceMode, kind: GroupDistance
) -> RankLists:
    """Put the first `top_n` images of each coarse list in the order of global and part distance."""
    # In the gallery's order, in which equal distances are ranked.
    images = coarse.images[:, :top_n].sort(dim=1).values
    distances = coarse.distances[:, :top_n].gather(1, coarse.images[:, :top_n].argsort(dim=1))
    # Many queries share candidates; each is read from the file once.
    needed, places = torch.unique(images, return_inverse=True)
    query_groups, query_confidence = parts_of(query)
    groups, confidence = parts(needed)
    candidates = Candidates(
        columns=images,
        global_distances=distances,
        group_distances=candidate_group_distances(query_groups, groups, places, kind),
        confidences=(query_confidence[:, None], confidence[places]),
    )
    fine, order = candidates.distances(mode).sort(dim=1, stable=True)
    return RankLists(
        torch.cat([images.gather(1, order), coarse.images[:, top_n:]], dim=1),
        torch.cat([fine, coarse.distances[:, top_n:]], dim=1),
    )


def first(lists: RankLists, top_k: int) -> RankLists:
    """Cut the lists to their first `top_k` images."""
    return RankLists(lists.images[:, :top_k], lists.distances[:, :top_k])
