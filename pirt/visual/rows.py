"""Which runs a report shows, and what tells the rows of Tables 3 and 4 apart."""

from dataclasses import dataclass
from pathlib import Path

from pirt.core.errors import ParamsError
from pirt.core.params import read_yaml
from pirt.runs.params import ModelParams

ROW_FIELDS = ("parts", "intra", "inter_layers")
"""The model parameters in which the rows of Tables 3 and 4 differ."""
TableRow = tuple[bool, bool, int]
"""Values of `ROW_FIELDS`."""
BASELINE_ROW: TableRow = (False, False, 0)
FULL_ROW: TableRow = (True, True, 3)


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
