"""Which runs a report shows, and what tells the rows of Tables 3 and 4 apart."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pirt.core.errors import ParamsError, ReportError
from pirt.core.params import read_yaml
from pirt.runs.params import ModelParams, TrainParams

ROW_FIELDS = ("parts", "intra", "inter_layers")
"""The model parameters in which the rows of Tables 3 and 4 differ."""
TableRow = tuple[bool, bool, int]
"""Values of `ROW_FIELDS`."""
BASELINE_ROW: TableRow = (False, False, 0)
FULL_ROW: TableRow = (True, True, 3)
FIELDS_OF = {
    "parts": ("groups", "tau", "confidence_hidden"),
    "intra": ("bottleneck", "intra_heads", "intra_projection", "intra_dropout", "intra_mask"),
    "inter_layers": ("inter_heads", "feedforward", "inter_dropout"),
}
"""The parameters that each module of a row has."""
Compared = dict[tuple[object, ...], tuple[str, Any]]
"""The first run, and its value, of each scope and name."""


def table_row(model: ModelParams) -> TableRow:
    """Return what tells the rows of Tables 3 and 4 apart."""
    return model.parts, model.intra, model.inter_layers


def row_label(row: TableRow) -> str:
    """Return how a figure names a row of Table 3 or 4."""
    parts, intra, layers = row
    if row == BASELINE_ROW:
        return "baseline"
    added = [name for name, on in (("P", parts), ("Intra", intra), ("Inter", layers)) if on]
    return f"+ {' + '.join(added)}" + (f", N = {layers}" if layers and row != FULL_ROW else "")


def recipe(model: ModelParams, train: TrainParams, initial_weights: str | None) -> dict[str, Any]:
    """Return by name what runs that stand together share, but for the tables' rows and the seed."""
    return leaves(
        model=model.model_dump(exclude={*ROW_FIELDS, *_unused(model)}),
        train=train.model_dump(),
        # The seeds of one fine-tuning may each start from a run of their own.
        lineage={"fine_tuned": initial_weights is not None},
    )


def _unused(model: ModelParams) -> set[str]:
    """Return the fields that mean nothing to this model, since it lacks their module."""
    return {name for module, names in FIELDS_OF.items() if not getattr(model, module) for name in names}


def leaves(**sections: dict[str, Any]) -> dict[str, Any]:
    """Return the values of all sections, by names such as "model.width"."""
    return {f"{name}.{key}": value for name, table in sections.items() for key, value in table.items()}


def require_equal(first: Compared, place: str, run: str, told: dict[str, Any], *scope: object) -> None:
    """Compare each value of `told` with that of the first run in this scope that has one.

    Another one is a ReportError: the runs cannot share one `place`.
    """
    for name, value in told.items():
        other, expected = first.setdefault((*scope, name), (run, value))
        if value != expected:
            raise ReportError(
                f"runs {other!r} and {run!r} differ in {name} ({expected!r}, {value!r}) and cannot share one {place}; "
                "report them separately"
            )


@dataclass(frozen=True)
class Selection:
    """The seeds and variants of a parameter file; runs of earlier ones may still lie beside theirs."""

    seeds: frozenset[int]
    variants: frozenset[str]

    @classmethod
    def read(cls, path: Path) -> "Selection":
        """Read the sections `seeds` and `variants` of a parameter file."""
        table = read_yaml(path)
        seeds, variants = table.get("seeds"), table.get("variants")
        if not isinstance(seeds, list) or not isinstance(variants, dict):
            raise ParamsError(f"{path} must have a list of `seeds` and a mapping of `variants`")
        if wrong := [seed for seed in seeds if not isinstance(seed, int)]:
            raise ParamsError(f"{path}: `seeds` holds {wrong[0]!r}, expected integers; write them as [0, 1, 2]")
        return cls(frozenset(seeds), frozenset(variants))

    def holds(self, variant: str | None, seed: int) -> bool:
        """Tell whether this run is one of them."""
        return variant in self.variants and seed in self.seeds
