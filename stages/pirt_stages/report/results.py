"""The metrics of evaluated runs, read and checked to be comparable."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pirt.core.errors import ReportError
from pirt.ranking.results import Metrics, read_metrics
from pirt.visual.rows import ROW_FIELDS, Selection, TableRow, table_row


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

    With a `selection` other runs are passed over. Two results of one run, or results that differ in more than the
    tables' rows, are an error.
    """
    files = [file for path in paths for file in _metrics_files(path)]
    results: dict[str, Result] = {}
    for file in files:
        result = Result(**dict(read_metrics(file)))
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


def _require_one_recipe(results: Sequence[Result]) -> None:
    """Raise when two results differ in what they may not.

    All are measured alike, those of one backbone have one recipe but for the tables' rows and the seed, and each row
    may have heatmaps of its own.
    """
    of_backbone: dict[str, Result] = {}
    of_row: dict[tuple[str, TableRow], Result] = {}
    for result in results:
        backbone = result.model.backbone
        _require_equal(of_backbone.setdefault(backbone, result), result, _recipe)
        _require_equal(results[0], result, _measure)
        _require_equal(of_row.setdefault((backbone, result.row), result), result, _heatmaps)


def _require_equal(one: Result, other: Result, told: Callable[[Result], dict[str, Any]]) -> None:
    first, second = told(one), told(other)
    for name in first.keys() | second.keys():
        if first.get(name) != second.get(name):
            raise ReportError(
                f"runs {one.run!r} and {other.run!r} differ in {name} ({first.get(name)!r}, "
                f"{second.get(name)!r}) and cannot share one table; report them separately"
            )


def _heatmaps(result: Result) -> dict[str, Any]:
    return _leaves(lineage=result.lineage.model_dump(include={"trained_on_heatmaps", "heatmaps_fingerprint"}))


def _recipe(result: Result) -> dict[str, Any]:
    return _leaves(
        model=result.model.model_dump(exclude=set(ROW_FIELDS)),
        train=result.train.model_dump(),
        # The seeds of one fine-tuning may each start from a run of their own.
        lineage={"fine_tuned": result.lineage.initial_weights_sha256 is not None},
    )


def _measure(result: Result) -> dict[str, Any]:
    return _leaves(
        protocol=result.protocol.model_dump(),
        counts=result.counts.model_dump(),
        lineage=result.lineage.model_dump(include={"manifest_fingerprint", "trained_on_manifest"}),
    )


def _leaves(**sections: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}.{key}": value for name, table in sections.items() for key, value in table.items()}
