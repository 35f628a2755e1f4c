"""What matching and metrics can be told."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pirt.core.params import Fraction, Frozen, Positive, checked, mapping, read_sections
from pirt.ranking.matching import Coarse, GroupDistance

Neighbours = Annotated[int, Field(gt=0, le=10_000)]


class RerankParams(Frozen):
    """Re-ranking by k-reciprocal encoding; the defaults are its authors'."""

    k1: Neighbours = 20
    """Neighbours that must name each other."""
    k2: Neighbours = 6
    """Neighbours whose codes are averaged."""
    original: Fraction = 0.3
    """Share of the global distance."""


class EvaluateParams(Frozen):
    """Matching and metrics; the defaults are the paper's."""

    matching: Literal["coarse-to-fine", "full"] = "coarse-to-fine"
    top_n: Positive = 100
    coarse: Coarse = "sum"
    group_distance: GroupDistance = "euclidean"
    max_rank: Annotated[int, Field(gt=0, le=100_000)] = 50
    average_precision: Literal["step", "trapezoid"] = "step"
    unmatched: Literal["skip", "zero"] = "skip"
    junk: Literal["drop", "keep"] = "drop"
    rerank: RerankParams | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.rerank is not None and self.coarse != "sum":
            raise ValueError(
                f"re-ranking replaces the coarse distance, so coarse = {self.coarse!r} would do nothing; leave one out"
            )
        return self


def load_evaluate_params(path: Path) -> EvaluateParams:
    """Read the section `evaluate` of a parameter file."""
    where = f"{path}, section evaluate"
    return checked(EvaluateParams, mapping(read_sections(path).get("evaluate"), where), where)
