"""What one evaluation ranks for each query, and the distances taken apart."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pirt.core.pids import DISTRACTOR_PID
from pirt.progress import progress
from pirt.ranking.evaluation import Persons, Ranker, make_meter, query_blocks, within
from pirt.ranking.matching import (
    DEFAULT_MODE,
    ConfidenceMode,
    Features,
    GroupDistance,
    first_global_distances,
    group_weights,
    nearest,
    parts_of,
    unit_distances,
)
from pirt.ranking.metrics import RankMeter, RankMetrics
from pirt.ranking.params import EvaluateParams
from pirt.ranking.recipe import count_pairs, persons
from pirt.ranking.verification import Verification
from pirt_stages.explore.sources import Evaluation

TOP_K = 20
RANKED, EVEN, GLOBAL = "ranked", "even", "global"
"""The evaluation's own order; that with even weights instead of confidences; that without parts."""
MOST_CAMERAS = 16
"""With more, a table of camera pairs does not help."""

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """A query's p pairs that can be looked at, by gallery image (ascending).

    `base`: p, the global or re-ranked distance; `groups`: p×G, by part, G 0 without parts; `weights`: p×G;
    `compared`: p, whether the parts count in the ranking; `coarse`: p, the distance that the others are ranked by.
    """

    images: Integers
    base: Floats
    groups: Floats
    weights: Floats
    compared: NDArray[np.bool_]
    coarse: Floats

    @property
    def whole(self) -> Floats:
        """The distances with all parts, whoever is compared: p."""
        whole: Floats = self.base + (self.weights * self.groups).sum(axis=1)
        return whole

    @property
    def ranked(self) -> Floats:
        """The distances that are ranked: p."""
        return np.where(self.compared, self.whole, self.coarse)


@dataclass
class Retrieval:
    """What is found for Q queries.

    `lists`: by order, Q×k gallery images, nearest first, dropped ones among them. `matches`: each query's true
    matches in ranked order. `by_camera`: Q×cameras, average precision within the gallery of one camera.
    """

    rankings: dict[str, RankMetrics]
    lists: dict[str, Integers]
    matches: list[Integers]
    cameras: tuple[int, ...]
    by_camera: Floats
    verification: Verification
    confidence: tuple[Floats, Floats] | None
    """Of queries Q×G and gallery M×G."""

    def images(self, query: int) -> Integers:
        """Return the gallery images that are shown for a query, ascending."""
        shown: Integers = np.unique(np.concatenate([self.matches[query], *(of[query] for of in self.lists.values())]))
        return shown


def retrieve(evaluation: Evaluation, device: torch.device) -> Retrieval:
    """Rank the gallery for every query as the evaluation did, and keep what can be looked at."""
    query, gallery = (persons(evaluation.embeddings, split) for split in ("query", "gallery"))
    with progress(len(query), f"{evaluation.name}: ranking", "query") as bar:
        collector = _Collector(query, gallery, evaluation.metrics.protocol, device)
        for rows in query_blocks(len(query), len(gallery), 8):
            collector.add(rows)
            bar.update(rows.stop - rows.start)
    how = evaluation.metrics.protocol
    return collector.result(count_pairs(query, gallery, how, device, f"{evaluation.name}: same or different"))


@dataclass
class _Collector:
    """Goes through blocks of queries."""

    query: Persons
    gallery: Persons
    protocol: EvaluateParams
    device: torch.device
    lists: dict[str, list[Tensor]] = field(default_factory=dict)
    matches: list[Integers] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.asked, self.searched = _placed(self.query.features, self.gallery.features, self.device)
        self.ranker = Ranker(self.asked, self.searched, self.protocol)
        names = (RANKED,) if self.asked.groups is None else (RANKED, EVEN, GLOBAL)
        self.meters = {name: self._meter(slice(None)) for name in names}
        cameras = np.unique(self.gallery.camids).tolist()
        # Data without camera labels have one camera in the gallery, which is compared with no other.
        self.cameras = tuple(cameras) if 1 < len(cameras) <= MOST_CAMERAS else ()
        self.of_camera = [np.flatnonzero(self.gallery.camids == camera) for camera in self.cameras]
        self.camera_meters = [self._meter(columns) for columns in self.of_camera]

    def _meter(self, columns: slice | Integers) -> RankMeter:
        return make_meter(self.gallery.pids[columns], self.gallery.camids[columns], self.protocol)

    def add(self, rows: slice) -> None:
        """Rank for a block of queries."""
        labels = self.query.pids[rows], self.query.camids[rows]
        # Each order is used up before the next one overwrites it.
        for name, ranking in self._orders(rows):
            self.meters[name].update(ranking, *labels)
            self.lists.setdefault(name, []).append(first_of(ranking, TOP_K))
            if name == RANKED:
                for meter, columns in zip(self.camera_meters, self.of_camera, strict=True):
                    meter.update(ranking[:, torch.from_numpy(columns)], *labels)
                self.matches += self._matches(ranking.cpu(), *labels)

    def _orders(self, rows: slice) -> Iterator[tuple[str, Tensor]]:
        base, has_parts = self.ranker.base(rows), self.asked.groups is not None
        modes: tuple[ConfidenceMode, ...] = (DEFAULT_MODE, "even") if has_parts else ("none",)
        # A copy, since rankings overwrite what they start from.
        # Without parts there is one mode, and so one order.
        yield from zip((RANKED, EVEN), self.ranker.rankings(rows, base.clone(), modes), strict=False)
        if has_parts:
            yield GLOBAL, base

    def _matches(self, ranking: Tensor, pids: Integers, camids: Integers) -> Iterator[Integers]:
        for row, pid, camid in zip(ranking, pids, camids, strict=True):
            of_person = (self.gallery.pids == pid) & (self.gallery.camids != camid) & (pid > DISTRACTOR_PID)
            images = np.flatnonzero(of_person)
            # Stable, as the measured ranking is: of equal distances the gallery's first comes first.
            yield images[np.argsort(row.numpy()[images], kind="stable")]

    def result(self, verification: Verification) -> Retrieval:
        """Put together what came."""
        features = (self.query.features, self.gallery.features)
        known = None if features[0].groups is None else tuple(parts_of(f)[1].double().numpy() for f in features)
        by_camera = [meter.compute().average_precisions for meter in self.camera_meters]
        return Retrieval(
            rankings={name: meter.compute() for name, meter in self.meters.items()},
            lists={name: torch.cat(lists).numpy() for name, lists in self.lists.items()},
            matches=self.matches,
            cameras=self.cameras,
            by_camera=np.stack(by_camera, axis=1) if by_camera else np.zeros((len(self.query), 0)),
            verification=verification,
            confidence=None if known is None else (known[0], known[1]),
        )


def take_apart(evaluation: Evaluation, images: Sequence[Integers], device: torch.device) -> list[Pairs]:
    """Take the distances of each query to some gallery `images` (ascending) apart."""
    embeddings, protocol = evaluation.embeddings, evaluation.metrics.protocol
    query, gallery = _placed(embeddings.features("query"), embeddings.features("gallery"), device)
    found, ranker = [], Ranker(query, gallery, protocol)
    with progress(len(query), f"{evaluation.name}: taking apart", "query") as bar:
        for rows in query_blocks(len(query), len(gallery), 8):
            # Multiplied anew: kept from the ranking, the distances of all queries could take more memory than there is.
            distances = coarse = ranker.base(rows)
            if protocol.coarse == "stripe":
                coarse = first_global_distances(query[rows], gallery)
            fine = nearest(coarse, protocol.top_n).cpu().numpy()
            for place, number in enumerate(range(rows.start, rows.stop)):
                wanted = torch.from_numpy(images[number]).to(device)
                found.append(
                    Pairs(
                        images[number],
                        distances[place, wanted].double().cpu().numpy(),
                        *_parts(query[[number]], gallery, wanted, protocol.group_distance),
                        np.isin(images[number], fine[place]) | (protocol.matching == "full"),
                        coarse[place, wanted].double().cpu().numpy(),
                    )
                )
            bar.update(rows.stop - rows.start)
    return found


def _placed(query: Features, gallery: Features, device: torch.device) -> tuple[Features, Features]:
    """Put the queries on `device`, and the gallery too if there is room for it and a copy that re-ranking makes."""
    return query.to(device), within(gallery, device, copies=2)


def _parts(query: Features, gallery: Features, images: Tensor, kind: GroupDistance) -> tuple[Floats, Floats]:
    """Return one query's distances to p gallery `images` by part, and their weights in the default mode: p×G both."""
    if query.groups is None:
        return np.zeros((len(images), 0)), np.zeros((len(images), 0))
    (of_query, ours), (groups, theirs) = parts_of(query), parts_of(gallery)
    chosen = groups[:, images.to(groups.device)].to(images.device)
    cosines = torch.einsum("gc,gpc->pg", of_query[:, 0], chosen)
    weights = group_weights(ours, theirs[images], DEFAULT_MODE, len(groups))
    return unit_distances(cosines, kind).double().cpu().numpy(), weights.double().cpu().numpy()


def first_of(ranking: Tensor, count: int) -> Tensor:
    """Return the columns of each row's `count` smallest values, ascending by value, ties by column: b×count."""
    columns = nearest(ranking, count)
    order = ranking.gather(1, columns).argsort(dim=1, stable=True)
    return columns.gather(1, order).cpu()
