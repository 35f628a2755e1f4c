"""What `pirt-search` finds: coarse by an index, fine by parts, judged by a threshold if one is asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
import torch

from pirt.core.errors import DataError, StoreError
from pirt.core.pids import JUNK_PID
from pirt.nearest import RankLists, first, refine
from pirt.progress import progress
from pirt.ranking.embeddings import CONFIDENCE, Embeddings
from pirt.ranking.matching import ConfidenceMode, Features, GroupDistance
from pirt.ranking.results import FalsePositiveRate, Metrics
from pirt.ranking.verification import Calibration, OperatingPoint
from pirt.visual.rank_list import match_of
from pirt_stages.search.index import CoarseIndex

# At the paper's sizes the parts of 100 candidates take 2.5 MB a query.
_QUERIES_AT_A_TIME = 16


ThresholdName = Literal["eer", FalsePositiveRate]
"""Where errors of both kinds are equal, or a false-positive rate."""


@dataclass(frozen=True)
class Acceptance:
    """The distance up to which an image counts as the query's person, as `pirt-eval` measured it."""

    point: OperatingPoint
    calibration: Calibration


@dataclass(frozen=True)
class SearchChoice:
    """How many images are found for a query, how, and which of them are accepted, if that is asked for."""

    top_k: int = 10
    top_n: int = 100
    mode: ConfidenceMode = "query-gallery"
    group_distance: GroupDistance = "euclidean"
    acceptance: Acceptance | None = None


@dataclass(frozen=True)
class RankedImage:
    """One image of a rank list; `confidence` by part group is there if the model has parts.

    `match` and `same_camera` are None where the query's identity and camera are not known, `match` also where the
    image's identity is not; `accepted` and `probability` where no threshold was asked for or the image's parts were not
    compared.
    """

    rank: int
    key: str
    pid: int
    camid: int
    distance: float
    match: bool | None
    same_camera: bool | None
    confidence: dict[str, float]
    accepted: bool | None = None
    probability: float | None = None


class Verdicts(TypedDict):
    """What a threshold says of an image."""

    accepted: bool | None
    probability: float | None


@dataclass(frozen=True)
class FoundList:
    """A query and its rank list."""

    query: str
    confidence: dict[str, float]
    found: tuple[RankedImage, ...]


def require_same_model(gallery: Embeddings, queries: Embeddings) -> None:
    """Raise when the features of two models would be compared."""
    ours, theirs = queries.lineage.checkpoint_sha256, gallery.lineage.checkpoint_sha256
    if ours != theirs:
        raise StoreError(
            f"queries {queries.path} come from another run (checkpoint {ours[:12]}) than the gallery {gallery.path} "
            f"({theirs[:12]}); features of different models cannot be compared"
        )


def choose_acceptance(
    name: ThresholdName, metrics: Metrics, gallery: Embeddings, mode: ConfidenceMode, kind: GroupDistance
) -> Acceptance:
    """Take a threshold out of the metrics of the model that embedded the gallery."""
    found, expected = metrics.lineage.checkpoint_sha256, gallery.lineage.checkpoint_sha256
    if found != expected:
        raise StoreError(
            f"the metrics come from another run (checkpoint {found[:12]}) than the gallery {gallery.path} "
            f"({expected[:12]}); thresholds of one model say nothing about another's distances"
        )
    pairs = metrics.same_or_different
    if pairs is None:
        raise DataError(
            f"the metrics of {gallery.path} come from an earlier version and have no thresholds; measure it again with "
            f"`pirt-eval --from-embeddings {gallery.path}`"
        )
    if gallery.has_parts and pairs.confidence_mode != mode:
        raise DataError(
            f"thresholds were measured with confidence {pairs.confidence_mode!r}, not {mode!r}; leave out --confidence "
            "or --threshold"
        )
    if gallery.has_parts and metrics.protocol.group_distance != kind:
        raise DataError(
            f"thresholds were measured with group distance {metrics.protocol.group_distance!r}, not {kind!r}; change "
            "--group-distance, or leave out --threshold"
        )
    point = pairs.equal_errors if name == "eer" else pairs.at_false_positive_rate[name]
    return Acceptance(point, pairs.calibration)


def choose_queries(queries: Embeddings, keys: Sequence[str]) -> list[int]:
    """Return the rows of the queries named by `keys`, or of all when there are none."""
    rows = {key: row for row, key in enumerate(queries.keys[: queries.query_count])}
    if unknown := [key for key in keys if key not in rows]:
        raise DataError(f"{queries.path} has no query {unknown[0]!r}; it has {next(iter(rows), 'none')!r} and others")
    if not rows:
        raise DataError(f"{queries.path} has no queries; embed some with --run, --manifest and --heatmaps")
    return [rows[key] for key in keys] or list(rows.values())


def search(
    gallery: Embeddings, queries: Embeddings, rows: Sequence[int], index: CoarseIndex, choice: SearchChoice
) -> list[FoundList]:
    """Find the images that are nearest to the queries in `rows`."""
    require_same_model(gallery, queries)
    features = queries.features("query")[list(rows)]
    found: list[FoundList] = []
    with progress(len(rows), "searching", "query") as bar:
        for start in range(0, len(rows), _QUERIES_AT_A_TIME):
            block = slice(start, start + _QUERIES_AT_A_TIME)
            lists = rank(gallery, features[block], index, choice)
            found += _named(gallery, queries, rows[block], lists, choice)
            bar.update(len(rows[block]))
    return found


def rank(gallery: Embeddings, query: Features, index: CoarseIndex, choice: SearchChoice) -> RankLists:
    """Rank coarse-to-fine; only the candidates' part features are read from the gallery's file."""
    # With parts the first N are ranked anew, however few of them are shown.
    coarse = index.search(query, max(choice.top_k, choice.top_n if gallery.has_parts else 1))
    if not gallery.has_parts:
        return first(coarse, choice.top_k)
    offset = gallery.rows("gallery").start

    def parts(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return gallery.parts_at((images + offset).tolist())

    return first(refine(query, coarse, parts, choice.top_n, choice.mode, choice.group_distance), choice.top_k)


def _named(
    gallery: Embeddings, queries: Embeddings, rows: Sequence[int], lists: RankLists, choice: SearchChoice
) -> Iterator[FoundList]:
    images = lists.images.numpy() + gallery.rows("gallery").start
    of_gallery = _confidences(gallery, np.unique(images).tolist())
    of_queries = _confidences(queries, sorted(set(rows)))
    # Pids of two manifests may mean different persons.
    one_manifest = queries.lineage.manifest_fingerprint == gallery.lineage.manifest_fingerprint
    # Behind the first N stands the global distance alone, which no threshold is for.
    compared = choice.top_n if gallery.has_parts else choice.top_k
    for row, listed, distances in zip(rows, images.tolist(), lists.distances.tolist(), strict=True):
        pid = int(queries.pids[row])
        # −1 is what a folder without labels gives everybody.
        known = one_manifest and pid != JUNK_PID
        found = tuple(
            RankedImage(
                rank=number,
                key=gallery.keys[image],
                pid=int(gallery.pids[image]),
                camid=int(gallery.camids[image]),
                distance=round(distance, 6),
                match=match_of(pid, int(gallery.pids[image])) if known else None,
                same_camera=bool(gallery.camids[image] == queries.camids[row]) if known else None,
                confidence=of_gallery.get(image, {}),
                **_verdict(distance, choice.acceptance if number <= compared else None),
            )
            for number, (image, distance) in enumerate(zip(listed, distances, strict=True), 1)
        )
        yield FoundList(queries.keys[row], of_queries.get(row, {}), found)


def _verdict(distance: float, acceptance: Acceptance | None) -> Verdicts:
    if acceptance is None:
        return {"accepted": None, "probability": None}
    likely = acceptance.calibration.probability(distance)
    return {"accepted": distance <= acceptance.point.threshold, "probability": round(likely, 4)}


def _confidences(embeddings: Embeddings, rows: list[int]) -> dict[int, dict[str, float]]:
    if not embeddings.has_parts:
        return {}
    values = embeddings.read(CONFIDENCE, rows).tolist()
    return {
        row: {name: round(value, 4) for name, value in zip(embeddings.group_names, confidence, strict=True)}
        for row, confidence in zip(rows, values, strict=True)
    }
