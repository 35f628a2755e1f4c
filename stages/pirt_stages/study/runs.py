"""Which evaluations an analysis reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pirt.core.errors import ReportError
from pirt.ranking.recipe import measured_in
from pirt.ranking.results import Metrics
from pirt.visual.rows import Selection, TableRow, table_row


@dataclass(frozen=True)
class Run:
    """An evaluation of `pirt-eval`."""

    folder: Path
    metrics: Metrics

    @property
    def row(self) -> TableRow:
        """Return which row of Tables 3 and 4 it is."""
        return table_row(self.metrics.model)

    @property
    def variant(self) -> str:
        """Return the name that it goes by."""
        return self.metrics.variant or self.folder.name


def find_runs(places: Sequence[Path], selection: Selection | None) -> list[Run]:
    """Return the evaluations in and below `places`, baseline first; with a `selection` only its runs."""
    runs = [Run(folder, metrics) for folder, metrics in measured_in(places).items()]
    if selection is not None:
        runs = [run for run in runs if selection.holds(run.metrics.variant, run.metrics.seed)]
    if not runs:
        asked = "" if selection is None else " with the requested seeds and variants"
        raise ReportError(f"no evaluation{asked} in {', '.join(map(str, places))}; `pirt-eval --out` makes one")
    # A row's parameters begin with False for the baseline, and grow with what is added.
    return sorted(runs, key=lambda run: (run.row, run.variant, run.metrics.seed))
