"""The metrics of evaluated runs, read and checked to be comparable."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pirt.data.manifest import is_of_stand_in
from pirt.errors import ParamsError, PirtError
from pirt.params import Fraction, ModelParams, TrainParams, read_yaml

ConfidenceMode = Literal["query-gallery", "query", "gallery", "none"]
ROW_FIELDS = ("parts", "intra", "inter_layers")
"""The model parameters in which the rows of Tables 3 and 4 differ."""
TableRow = tuple[bool, bool, int]
"""Values of `ROW_FIELDS`."""
BASELINE_ROW: TableRow = (False, False, 0)
FULL_ROW: TableRow = (True, True, 3)


def table_row(model: ModelParams) -> TableRow:
    """Return what tells the rows of Tables 3 and 4 apart."""
    return model.parts, model.intra, model.inter_layers


class ReportError(PirtError, ValueError):
    """A result is missing, malformed or cannot stand in one table with the others."""


class Scores(BaseModel):
    """Retrieval scores of one ranking, as fractions between 0 and 1."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    mean_ap: Fraction = Field(alias="mAP")
    mean_inp: Fraction = Field(alias="mINP")
    rank_1: Fraction = Field(alias="rank-1")
    rank_5: Fraction = Field(alias="rank-5")
    rank_10: Fraction = Field(alias="rank-10")


class Lineage(BaseModel):
    """What a result was computed from."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    checkpoint_sha256: str
    heatmaps_fingerprint: str | None = None
    manifest_fingerprint: str
    trained_on_manifest: str
    trained_on_heatmaps: str | None = None
    initial_weights_sha256: str | None = None
    """Of the run that fine-tuning started from."""

    @property
    def stand_in(self) -> bool:
        """Tell whether the images were a stand-in that `pirt-data` made."""
        return is_of_stand_in(self.manifest_fingerprint)


class Result(Scores):
    """One metrics.json: the scores of one run, what it was trained with and what it came from."""

    variant: str | None = None
    seed: int
    model: ModelParams
    train: TrainParams
    protocol: dict[str, Any]
    counts: dict[str, int]
    confidence_modes: dict[ConfidenceMode, Scores]
    lineage: Lineage

    @property
    def row(self) -> TableRow:
        """Return what tells the rows of Tables 3 and 4 apart."""
        return table_row(self.model)

    @property
    def configuration(self) -> str:
        """Return a name of the row, such as "parts-intra-inter3"."""
        parts, intra, layers = self.row
        named = [name for name, on in (("parts", parts), ("intra", intra), (f"inter{layers}", layers)) if on]
        return "-".join(named) or "baseline"

    @property
    def run(self) -> str:
        """Return a name of the run that follows from its parameters alone."""
        return f"{self.configuration}-seed{self.seed}"


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


def read_results(paths: Iterable[Path], selection: Selection | None = None) -> tuple[Result, ...]:
    """Read every metrics.json among `paths` and in the folders among them, in the order of their runs' names.

    With a `selection` other runs are passed over. Two results of one run, or results that differ in more than the
    tables' rows, are an error.
    """
    files = [file for path in paths for file in _metrics_files(path)]
    results: dict[str, Result] = {}
    for file in files:
        result = _read(file)
        if selection and not selection.holds(result.variant, result.seed):
            continue
        if result.run in results:
            raise ReportError(f"{file} is a second result of the run {result.run!r}; pass the metrics of each run once")
        results[result.run] = result
    if not results:
        raise ReportError(f"none of {len(files)} metrics.json is of the asked seeds and variants; evaluate those first")
    ordered = tuple(results[name] for name in sorted(results))
    _require_one_recipe(ordered)
    return ordered


def _metrics_files(path: Path) -> Sequence[Path]:
    if not path.is_dir():
        return [path]
    if files := sorted(path.rglob("metrics.json")):
        return files
    raise ReportError(f"no metrics.json in the folder {path}; `pirt-eval --out` writes one")


def _read(path: Path) -> Result:
    try:
        return Result.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ReportError(f"metrics file {path} does not exist; `pirt-eval --out` writes one") from None
    except (OSError, ValueError) as error:
        raise ReportError(f"{path} is not a metrics.json of pirt-eval: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)


def _require_one_recipe(results: Sequence[Result]) -> None:
    """Raise when two results differ in anything but the tables' rows, which may have heatmaps each, and the seed."""
    of_row: dict[TableRow, Result] = {}
    for result in results:
        _require_equal(results[0], result, _recipe)
        _require_equal(of_row.setdefault(result.row, result), result, _heatmaps)


def _require_equal(one: Result, other: Result, told: Callable[[Result], dict[str, Any]]) -> None:
    first, second = told(one), told(other)
    for name in first.keys() | second.keys():
        if first.get(name) != second.get(name):
            raise ReportError(
                f"runs {one.run!r} and {other.run!r} differ in {name} ({first.get(name)!r}, "
                f"{second.get(name)!r}) and cannot stand in one table; report them apart"
            )


def _heatmaps(result: Result) -> dict[str, Any]:
    names = {"trained_on_heatmaps", "heatmaps_fingerprint"}
    return {f"lineage.{name}": value for name, value in result.lineage.model_dump(include=names).items()}


def _recipe(result: Result) -> dict[str, Any]:
    sections = {
        "model": result.model.model_dump(exclude=set(ROW_FIELDS)),
        "train": result.train.model_dump(),
        "protocol": result.protocol,
        "counts": result.counts,
        "lineage": {
            **result.lineage.model_dump(include={"manifest_fingerprint", "trained_on_manifest"}),
            # The seeds of one fine-tuning may each start from a run of their own.
            "fine_tuned": result.lineage.initial_weights_sha256 is not None,
        },
    }
    return {f"{name}.{key}": value for name, table in sections.items() for key, value in table.items()}
