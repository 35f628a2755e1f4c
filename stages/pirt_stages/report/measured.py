"""The scores of the runs of one row, over their seeds."""

from collections.abc import Sequence
from statistics import mean, stdev
from typing import Annotated, Self

from pydantic import Field, model_validator

from pirt.core.params import Frozen
from pirt.ranking.results import Scores
from pirt_stages.report import paper
from pirt_stages.report.results import Result

METRICS = {"mAP": "mean_ap", "mINP": "mean_inp", "rank-1": "rank_1", "rank-5": "rank_5", "rank-10": "rank_10"}
FEW_SEEDS = 3
Percent = Annotated[float, Field(ge=0, le=100)]


class Score(Frozen):
    """A metric in percent over the seeds of one row; `std` needs two seeds."""

    mean: Percent
    std: Percent | None


class Measured(Frozen):
    """Our result in one row: a score for each of `METRICS` and the runs that they come from.

    `configuration` is where the lineage describes these runs.
    """

    configuration: str
    scores: dict[str, Score]
    seeds: tuple[int, ...]
    epochs: int
    runs: tuple[str, ...]

    @model_validator(mode="after")
    def _has_every_metric(self) -> Self:
        if lacking := METRICS.keys() - self.scores.keys():
            raise ValueError(f"scores lacks {min(lacking)}")
        return self

    @property
    def marks(self) -> str:
        """Return † for fewer epochs than the paper's and ‡ for few seeds."""
        short = self.epochs < paper.PAPER_EPOCHS
        return ("†" if short else "") + ("‡" if len(self.seeds) < FEW_SEEDS else "")


def measured(results: Sequence[Result], mode: str | None = None) -> Measured | None:
    """Average `results` over their seeds, in one of Table 5's modes or in the run's own matching."""
    if not results:
        return None
    by_seed = sorted(results, key=lambda result: result.seed)
    scores: list[Scores] = [r if mode is None else dict(r.confidence_modes.items())[mode] for r in by_seed]  # type: ignore[index]
    values = {name: [100 * getattr(score, field) for score in scores] for name, field in METRICS.items()}
    return Measured(
        configuration=by_seed[0].configuration,
        # The sample's deviation (n − 1), for the seeds are a sample of many.
        scores={name: Score(mean=mean(v), std=stdev(v) if len(v) > 1 else None) for name, v in values.items()},
        seeds=tuple(result.seed for result in by_seed),
        epochs=by_seed[0].train.epochs,  # the same in all of one recipe
        runs=tuple(result.run for result in by_seed),
    )
