"""The recipe of `pirt-report figures`: every figure that the results allow."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from matplotlib.figure import Figure

from pirt.data.dataset import PersonDataset
from pirt.data.manifest import Manifest
from pirt.data.transforms import EvalTransform
from pirt.files import written_whole
from pirt.heatmaps.cache import load_heatmaps
from pirt.run import RECORD_FILE, load_run, read_record
from stages.report.figures.curves import draw_curves, read_curves
from stages.report.figures.layers import draw_layers
from stages.report.figures.people import choose_pairs, draw_activations, draw_heatmaps
from stages.report.figures.style import save
from stages.report.results import FULL_ROW, ReportError, table_row
from stages.report.writing import FIGURES, read_report

PERSONS = 5


def write_figures(out: Path, runs: Path, manifest: Manifest, store: Path) -> None:
    """Draw the figures of the run folders under `runs` into the folder `figures` of the report `out`."""
    read_report(out)
    folders = find_runs(runs)
    with written_whole(out / FIGURES) as folder:
        folder.mkdir()
        for name, figure in _figures(out, folders, manifest, store):
            save(figure, folder / f"{name}.png")


def find_runs(runs: Path) -> list[Path]:
    """Return the finished run folders under `runs`, in order of their paths."""
    if found := sorted(path.parent for path in runs.rglob(RECORD_FILE)):
        return found
    raise ReportError(f"no finished run (a folder with {RECORD_FILE}) under {runs}; `pirt-train --out` makes one")


def _figures(out: Path, runs: Sequence[Path], manifest: Manifest, store: Path) -> Iterator[tuple[str, Figure]]:
    for table in read_report(out).tables:
        if table.number == 4 and any(row.entries[0].ours for row in table.rows):
            yield "table4", draw_layers(table)
    if curves := read_curves(runs):
        yield "curves", draw_curves(curves)
    else:
        click.echo("curves were not drawn: no run holds the logs of its training", err=True)
    rows = choose_pairs(manifest, PERSONS)
    cache = load_heatmaps(store, manifest, rows)
    size = read_record(runs[0]).params.train.image_size
    yield "heatmaps", draw_heatmaps(PersonDataset(manifest, rows, cache, EvalTransform(size)))
    if (run := _run_with_irm(runs)) is None:
        click.echo("activations were not drawn: no run has the intra-part relational module", err=True)
        return
    model, record = load_run(run)
    dataset = PersonDataset(manifest, rows, cache, EvalTransform(record.params.train.image_size))
    yield "activations", draw_activations(model, dataset)


def _run_with_irm(runs: Sequence[Path]) -> Path | None:
    """Return the full model of the lowest seed, or else the first run that has an IRM."""
    records = [(read_record(run), run) for run in runs]
    with_irm = [(record, run) for record, run in records if record.params.model.intra]
    full = [(record.params.seed, run) for record, run in with_irm if table_row(record.params.model) == FULL_ROW]
    return min(full)[1] if full else with_irm[0][1] if with_irm else None
