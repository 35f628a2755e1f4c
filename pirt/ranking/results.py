"""`metrics.json`: the results of an evaluation and what they were made from; only written and read here."""

import json
from collections import Counter
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np
from pydantic import ConfigDict, Field, ValidationError, model_validator

from pirt.core.errors import DataError
from pirt.core.files import files_named, written_whole
from pirt.core.manifest import is_of_stand_in
from pirt.core.params import Fraction, Frozen, first_problem
from pirt.core.pids import DISTRACTOR_PID, JUNK_PID
from pirt.core.texts import LARGEST_JSON, bytes_within, is_json_without
from pirt.ranking.embeddings import Embeddings
from pirt.ranking.evaluation import Persons
from pirt.ranking.intervals import bootstrap
from pirt.ranking.matching import DEFAULT_MODE, ConfidenceMode
from pirt.ranking.metrics import RankMetrics
from pirt.ranking.params import EvaluateParams
from pirt.ranking.verification import Calibration, OperatingPoint, Verification
from pirt.runs.params import ModelParams, TrainParams

METRICS_FILE, SCORES_FILE = "metrics.json", "scores.json"
_RANKS = (1, 5, 10)
_ROUNDED = 1e-6  # a query's precision is kept to six digits
FalsePositiveRate = Literal["0.001", "0.01", "0.1"]
"""Rates that people choose thresholds by; as text, since they are names in the file."""


class Scores(Frozen):
    """Retrieval scores of one ranking, as fractions between 0 and 1."""

    model_config = ConfigDict(populate_by_name=True)

    mean_ap: Fraction = Field(alias="mAP")
    mean_inp: Fraction = Field(alias="mINP")
    rank_1: Fraction = Field(alias="rank-1")
    rank_5: Fraction = Field(alias="rank-5")
    rank_10: Fraction = Field(alias="rank-10")


class Counts(Frozen):
    """How many images were used and how many were not, and why."""

    queries: int
    skipped: int
    """Queries without a valid match."""
    gallery: int
    """Without junk, unless the protocol keeps it."""
    junk: int
    distractors: int
    same_camera_pairs: int
    unreadable: int
    """In stage 1."""


class ProtocolUsed(EvaluateParams):
    """What was asked for, and what the cameras were."""

    cameras: str


class Origins(Frozen):
    """What a result was computed from."""

    checkpoint_sha256: str
    trained_on_manifest: str
    trained_on_heatmaps: str | None = None
    initial_weights_sha256: str | None = None
    """Of the run that fine-tuning started from."""
    manifest_fingerprint: str
    heatmaps_fingerprint: str | None = None

    @property
    def stand_in(self) -> bool:
        """Tell whether the images were a stand-in that `pirt-data` made."""
        return is_of_stand_in(self.manifest_fingerprint)


class SameOrDifferent(Frozen):
    """What thresholds on the distance of a pair are worth, over all pairs that the protocol leaves in.

    The distance is that of `full` matching, whatever `protocol` says, since it belongs to the pair alone.
    """

    confidence_mode: ConfidenceMode
    same_pairs: int
    different_pairs: int
    equal_errors: OperatingPoint
    at_false_positive_rate: dict[FalsePositiveRate, OperatingPoint]
    calibration: Calibration


class PerQuery(Frozen):
    """The result of each query that counts, in the manifest's order; intervals of differences are computed from it."""

    pids: tuple[int, ...]
    average_precisions: tuple[Fraction, ...]
    """To six digits."""
    interval: tuple[Fraction, Fraction] | None = None
    """Of mAP, 95 %, over persons; one person alone has none."""

    @model_validator(mode="after")
    def _has_a_pid_for_each_precision(self) -> Self:
        if (pids := len(self.pids)) != (precisions := len(self.average_precisions)):
            raise ValueError(f"it has {pids} pids for {precisions} average precisions")
        return self


class Metrics(Scores):
    """The whole file. A field that a later version adds has a default, so that files of earlier ones stay valid."""

    format_version: Literal[1] = 1
    variant: str | None = None
    seed: int
    cmc: tuple[float, ...]
    confidence_modes: dict[ConfidenceMode, Scores]
    """Empty for models without parts."""
    counts: Counts
    protocol: ProtocolUsed
    model: ModelParams
    train: TrainParams
    lineage: Origins
    same_or_different: SameOrDifferent | None = None
    per_query: PerQuery | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        """Refuse headlines that somebody edited: the file says each more than once."""
        told = {name: getattr(self, name) for name in Scores.model_fields}
        again = [dict(self.confidence_modes[DEFAULT_MODE])] if DEFAULT_MODE in self.confidence_modes else []
        if self.cmc:
            # `max_rank` may end the curve before rank 10.
            again.append({f"rank_{rank}": self.cmc[rank - 1] for rank in _RANKS if rank <= len(self.cmc)})
        if self.per_query is not None and self.per_query.average_precisions:
            again.append({"mean_ap": float(np.mean(self.per_query.average_precisions))})
        for name, value in (item for table in again for item in table.items()):
            if abs(told[name] - value) > _ROUNDED:
                raise ValueError(f"{name} is {told[name]}, but {value:.6f} by what else it holds: it was edited")
        return self


def metrics_of(
    found: dict[ConfidenceMode, RankMetrics],
    pairs: Verification,
    embeddings: Embeddings,
    query: Persons,
    gallery: Persons,
    params: EvaluateParams,
) -> Metrics:
    """Put together what was `found` for the rankings of `embeddings`, and for `pairs` in the default mode."""
    default = found[default_mode(embeddings)]
    lineage = embeddings.lineage
    return Metrics(
        **scores_of(default).model_dump(),
        variant=lineage.variant,
        seed=lineage.seed,
        cmc=tuple(default.cmc.tolist()),
        confidence_modes={m: scores_of(metrics) for m, metrics in found.items()} if embeddings.has_parts else {},
        counts=_counts(embeddings, query, gallery, default, params),
        protocol=ProtocolUsed(**dict(params), cameras=_cameras(query, gallery)),
        model=lineage.model,
        train=lineage.train,
        lineage=origins_of(embeddings),
        same_or_different=_same_or_different(pairs, default_mode(embeddings)),
        per_query=_per_query(default, query, params),
    )


def origins_of(embeddings: Embeddings) -> Origins:
    """Return what results of `embeddings` are computed from."""
    return Origins(**embeddings.lineage.model_dump(include=set(Origins.model_fields)))


def _per_query(metrics: RankMetrics, query: Persons, params: EvaluateParams) -> PerQuery:
    values = metrics.average_precisions
    counted = ~np.isnan(values) | (params.unmatched == "zero")
    # NaN is left only where the protocol counts a query without a match, and then as 0.
    pids, precisions = query.pids[counted], np.nan_to_num(values[counted])
    around = bootstrap(precisions, pids)
    bounds = None
    if around is not None and around.low is not None and around.high is not None:
        bounds = (min(around.low, 1.0), min(around.high, 1.0))  # sums of ones may round upwards
    return PerQuery(
        pids=tuple(pids.tolist()),
        average_precisions=tuple(np.round(precisions, 6).tolist()),
        interval=bounds,
    )


def default_mode(embeddings: Embeddings) -> ConfidenceMode:
    """Return the mode in which an evaluation's headline numbers are measured."""
    return DEFAULT_MODE if embeddings.has_parts else "none"


def _same_or_different(pairs: Verification, mode: ConfidenceMode) -> SameOrDifferent:
    same, different = pairs.pairs
    rates: tuple[FalsePositiveRate, ...] = get_args(FalsePositiveRate)
    return SameOrDifferent(
        confidence_mode=mode,
        same_pairs=same,
        different_pairs=different,
        equal_errors=pairs.at_equal_errors(),
        at_false_positive_rate={rate: pairs.at_false_positive_rate(float(rate)) for rate in rates},
        calibration=pairs.calibration(),
    )


def scores_of(metrics: RankMetrics) -> Scores:
    """Return the numbers that tables show."""
    # Not of the curve, which `max_rank` may end before rank 10.
    first = np.array([places[0] for places in metrics.places if len(places)])
    measured = max(metrics.num_queries - metrics.num_skipped, 1)
    at_ranks = {f"rank-{rank}": np.count_nonzero(first < rank) / measured for rank in _RANKS}
    return Scores.model_validate({"mAP": metrics.mAP, "mINP": metrics.mINP, **at_ranks})


def write_metrics(metrics: Metrics, folder: Path) -> None:
    """Write `metrics.json`, and its five headline numbers as `scores.json` for `dvc metrics show`.

    The same metrics give the same bytes.
    """
    table = metrics.model_dump(mode="json", by_alias=True)
    headline = {field.alias: table[field.alias] for field in Scores.model_fields.values() if field.alias}
    # Both are written before either takes its place.
    with written_whole(folder / METRICS_FILE) as metrics_file, written_whole(folder / SCORES_FILE) as scores_file:
        for beside, content in ((metrics_file, table), (scores_file, headline)):
            beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def refuse_other_metrics(folder: Path) -> None:
    """Raise DataError when a file in `folder` that an evaluation would replace or remove is not one's; damage is."""
    for name, field in ((METRICS_FILE, "confidence_modes"), (SCORES_FILE, "mAP")):
        path = folder / name
        if path.is_file() and is_json_without(field, path):
            raise DataError(f"{path} is not of `pirt-eval` and would be replaced; name another --out")


def metrics_files(folder: Path) -> list[Path]:
    """Return every `metrics.json` in and below a folder, sorted by path."""
    return files_named(METRICS_FILE, folder)


def read_metrics(path: Path) -> Metrics:
    """Read a `metrics.json`; one that is missing, damaged or of another program is a `DataError`."""
    try:
        return Metrics.model_validate_json(bytes_within(path, LARGEST_JSON))
    except FileNotFoundError:
        raise DataError(f"metrics file {path} does not exist; `pirt-eval --out` writes one") from None
    except ValidationError as error:
        raise DataError(f"{path} is not a metrics.json of pirt-eval: {first_problem(error)}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"metrics file {path} cannot be read: {error}") from error


def _counts(
    embeddings: Embeddings, query: Persons, gallery: Persons, metrics: RankMetrics, params: EvaluateParams
) -> Counts:
    junk = int(np.count_nonzero(gallery.pids == JUNK_PID))
    views = Counter(zip(gallery.pids.tolist(), gallery.camids.tolist(), strict=True))
    return Counts(
        queries=metrics.num_queries,
        skipped=metrics.num_skipped,
        gallery=len(gallery) - junk * (params.junk == "drop"),
        junk=junk,
        distractors=int(np.count_nonzero(gallery.pids == DISTRACTOR_PID)),
        same_camera_pairs=sum(views[view] for view in zip(query.pids.tolist(), query.camids.tolist(), strict=True)),
        unreadable=len(embeddings.lineage.unreadable),
    )


def _cameras(query: Persons, gallery: Persons) -> str:
    """Say whether the data set has camera labels, or the stand-ins that `pirt-data` gives it without."""
    unlabelled = set(query.camids.tolist()) == {0} and set(gallery.camids.tolist()) == {1}
    return "none: queries are camera 0, the gallery camera 1" if unlabelled else "labelled"
