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


def require_comparable(runs: Sequence[Run], names: Sequence[str]) -> None:
    """Raise unless all were measured alike, on the same images, and none is a second one of its name and seed.

    Over others no mean may be taken.
    """
    first, known = runs[0], set()
    for run, name in zip(runs, names, strict=True):
        for what, ours, theirs in (
            ("on other images", run.metrics.lineage.manifest_fingerprint, first.metrics.lineage.manifest_fingerprint),
            ("by another protocol", run.metrics.protocol, first.metrics.protocol),
        ):
            if ours != theirs:
                raise ReportError(f"{run.folder} was measured {what} than {first.folder}; evaluate both alike")
        seed = run.metrics.seed
        if (name, seed) in known:
            raise ReportError(f"{run.folder} is a second evaluation of {name}, seed {seed}; pass only one")
        known.add((name, seed))
