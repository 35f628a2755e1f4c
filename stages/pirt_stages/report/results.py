"""The metrics of evaluated runs, read and checked to be comparable."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pirt.core.errors import ReportError
from pirt.ranking.results import METRICS_FILE, Metrics, metrics_files, read_metrics
from pirt.runs.params import ModelParams
from pirt.visual.rows import ROW_FIELDS, Selection, TableRow, table_row

FIELDS_OF = {
    "parts": ("groups", "tau", "confidence_hidden"),
    "intra": ("bottleneck", "intra_heads", "intra_projection", "intra_dropout", "intra_mask"),
    "inter_layers": ("inter_heads", "feedforward", "inter_dropout"),
}
"""The parameters that each module of a row has."""


class Result(Metrics):
    """The metrics of one run, as a cell of a table."""

    @property
    def row(self) -> TableRow:
        """Return what tells the rows of Tables 3 and 4 apart."""
        return table_row(self.model)

    @property
    def configuration(self) -> str:
        """Return a name of the row on its backbone, such as "resnet50_ibn_a-parts-intra-inter3"."""
        parts, intra, layers = self.row
        named = [name for name, on in (("parts", parts), ("intra", intra), (f"inter{layers}", layers)) if on]
        return "-".join([self.model.backbone, *(named or ["baseline"])])

    @property
    def run(self) -> str:
        """Return a name of the run that follows from its parameters alone."""
        return f"{self.configuration}-seed{self.seed}"


def read_results(paths: Iterable[Path], selection: Selection | None = None) -> tuple[Result, ...]:
    """Read every metrics.json among `paths` and in the folders among them, in the order of their runs' names.

    With a `selection`, only its runs. Two results of one run, or results that differ in more than the tables' rows, are
    an error.
    """
    files = [file for path in paths for file in (_metrics_in(path) if path.is_dir() else [path])]
    results: dict[str, Result] = {}
    for file in files:
        # `dict` keeps what is validated already as it is; a dump would be validated once more.
        result = Result(**dict(read_metrics(file)))
        if selection and not selection.holds(result.variant, result.seed):
            continue
        if result.run in results:
            raise ReportError(f"{file} is a second result of the run {result.run!r}; pass the metrics of each run once")
        results[result.run] = result
    if not results:
        raise ReportError(
            f"none of {len(files)} metrics.json files has the requested seeds and variants; evaluate those first"
        )
    # By name, so that the same results give the same bytes in whatever order their files are found.
    ordered = tuple(results[name] for name in sorted(results))
    _require_one_recipe(ordered)
    return ordered


def _metrics_in(folder: Path) -> Sequence[Path]:
    if files := metrics_files(folder):
        return files
    raise ReportError(f"no {METRICS_FILE} in the folder {folder}; `pirt-eval --out` writes one")


def _require_one_recipe(results: Sequence[Result]) -> None:
    """Raise when two results differ in something they must share.

    All are measured alike; those of one backbone share a recipe, except for the tables' rows and the seed; and each row
    may have its own heatmaps.
    """
    first: dict[tuple[object, ...], tuple[Result, Any]] = {}
    for result in results:
        backbone = result.model.backbone
        _require_equal(first, result, _recipe(result), backbone)
        _require_equal(first, result, _measure(result))
        _require_equal(first, result, _heatmaps(result), backbone, result.row)


def _require_equal(
    first: dict[tuple[object, ...], tuple[Result, Any]], result: Result, told: dict[str, Any], *scope: object
) -> None:
    """Compare each value of `told` with that of the first result in this scope that has one."""
    for name, value in told.items():
        other, expected = first.setdefault((*scope, name), (result, value))
        if value != expected:
            raise ReportError(
                f"runs {other.run!r} and {result.run!r} differ in {name} ({expected!r}, {value!r}) and cannot share "
                "one table; report them separately"
            )


def _heatmaps(result: Result) -> dict[str, Any]:
    return _leaves(lineage=result.lineage.model_dump(include={"trained_on_heatmaps", "heatmaps_fingerprint"}))


def _recipe(result: Result) -> dict[str, Any]:
    return _leaves(
        model=result.model.model_dump(exclude={*ROW_FIELDS, *unused(result.model)}),
        train=result.train.model_dump(),
        # The seeds of one fine-tuning may each start from a run of their own.
        lineage={"fine_tuned": result.lineage.initial_weights_sha256 is not None},
    )


def unused(model: ModelParams) -> set[str]:
    """Return the fields that mean nothing to this model, since it lacks their module."""
    return {name for module, names in FIELDS_OF.items() if not getattr(model, module) for name in names}


def _measure(result: Result) -> dict[str, Any]:
    return _leaves(
        protocol=result.protocol.model_dump(),
        counts=result.counts.model_dump(),
        lineage=result.lineage.model_dump(include={"manifest_fingerprint", "trained_on_manifest"}),
    )


def _leaves(**sections: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}.{key}": value for name, table in sections.items() for key, value in table.items()}
