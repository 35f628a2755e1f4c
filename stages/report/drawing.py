"""The recipe of `pirt-report figures`: every figure that the results allow."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from pirt.data.dataset import PersonDataset
from pirt.data.manifest import Manifest
from pirt.data.transforms import EvalTransform
from pirt.embeddings import open_embeddings
from pirt.files import written_whole
from pirt.heatmaps.cache import load_heatmaps
from pirt.run import RECORD_FILE, load_run, read_record
from pirt.visual.retrieval import draw_retrieval, spread_queries
from stages.report.figures.curves import draw_curves, read_curves
from stages.report.figures.layers import draw_layers
from stages.report.figures.people import choose_pairs, draw_activations, draw_heatmaps
from stages.report.figures.style import save
from stages.report.results import BASELINE_ROW, FULL_ROW, ReportError, table_row
from stages.report.writing import FIGURES, read_report

PERSONS = 5


def write_figures(out: Path, runs: Path, evaluations: Path | None, manifest: Manifest, store: Path) -> None:
    """Draw the figures that the report `out`, the runs and their embeddings allow, into its folder `figures`."""
    report, folders = read_report(out), find_runs(runs)
    with written_whole(out / FIGURES) as folder:
        folder.mkdir()
        if ablation := next((table for table in report.tables if table.number == 4), None):
            save(draw_layers(ablation), folder / "table4.png")
        if curves := read_curves(folders):
            save(draw_curves(curves), folder / "curves.png")
        for name, figure in _people(folders, manifest, store):
            save(figure, folder / f"{name}.png")
        if evaluations is not None:
            save(_rank_lists(evaluations, manifest), folder / "ranks.png")


def find_runs(runs: Path) -> list[Path]:
    """Return the finished run folders under `runs`, in order of their paths."""
    if found := sorted(path.parent for path in runs.rglob(RECORD_FILE)):
        return found
    raise ReportError(f"no finished run (a folder with {RECORD_FILE}) under {runs}; `pirt-train --out` makes one")


def _people(runs: Sequence[Path], manifest: Manifest, store: Path) -> Iterator[tuple[str, Figure]]:
    """The heatmaps, and the activations where a run has an IRM: of the full model and lowest seed if there."""
    rows = choose_pairs(manifest, PERSONS)
    manifest.require_files(rows)
    cache = load_heatmaps(store, manifest, rows)
    records = [(read_record(run), run) for run in runs]
    dataset = PersonDataset(manifest, rows, cache, EvalTransform(records[0][0].params.train.image_size))
    yield "heatmaps", draw_heatmaps(dataset)
    with_irm = [
        (table_row(r.params.model) != FULL_ROW, r.params.seed, run) for r, run in records if r.params.model.intra
    ]
    if with_irm:
        model, _ = load_run(min(with_irm)[2])
        yield "activations", draw_activations(model, dataset)


def _rank_lists(evaluations: Path, manifest: Manifest) -> Image.Image:
    """What the baseline and the full model find, each of its lowest seed."""
    files = sorted(evaluations.rglob("embeddings.h5"))
    found = sorted((open_embeddings(path) for path in files), key=lambda e: (e.lineage.seed, str(e.path)))
    of_row = {table_row(embeddings.lineage.model): embeddings for embeddings in reversed(found)}
    models = [(title, of_row[row]) for row, title in ((BASELINE_ROW, "baseline"), (FULL_ROW, "Pirt")) if row in of_row]
    if not models:
        raise ReportError(f"no embeddings.h5 of the baseline or the full model under {evaluations}; run `pirt-eval`")
    return draw_retrieval(models, manifest, spread_queries(models[0][1], PERSONS))
