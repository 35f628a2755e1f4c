"""The metrics of evaluated runs, read and checked to be comparable."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pirt.core.errors import ReportError
from pirt.ranking.results import METRICS_FILE, Metrics, metrics_files, read_metrics
from pirt.visual.rows import Compared, Selection, TableRow, leaves, recipe, require_equal, table_row


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
    first: Compared = {}
    for result in results:
        backbone = result.model.backbone
        told = recipe(result.model, result.train, result.lineage.initial_weights_sha256)
        require_equal(first, "table", result.run, told, backbone)
        require_equal(first, "table", result.run, _measure(result))
        require_equal(first, "table", result.run, _heatmaps(result), backbone, result.row)


def _heatmaps(result: Result) -> dict[str, Any]:
    return leaves(lineage=result.lineage.model_dump(include={"trained_on_heatmaps", "heatmaps_fingerprint"}))


def _measure(result: Result) -> dict[str, Any]:
    return leaves(
        protocol=result.protocol.model_dump(),
        counts=result.counts.model_dump(),
        lineage=result.lineage.model_dump(include={"manifest_fingerprint", "trained_on_manifest"}),
    )
