"""The recipe of `pirt-report figures`: every figure that the results allow."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from pirt.core.errors import ReportError
from pirt.core.files import files_named, refuse_other_files, written_whole
from pirt.core.manifest import Manifest
from pirt.heatmaps.reader import HeatmapStore
from pirt.models.part_groups import NamedGroups, named_groups
from pirt.ranking.embed import images_for
from pirt.ranking.embeddings import Embeddings
from pirt.ranking.params import EvaluateParams
from pirt.ranking.recipe import embeddings_of, measured_in
from pirt.ranking.results import METRICS_FILE, Metrics
from pirt.runs.cache import load_heatmaps, require_masks, store_for, without_skipped
from pirt.runs.params import Params
from pirt.runs.run import RECORD_FILE, RunRecord, load_run, read_record
from pirt.visual.curves import draw_curves, read_curves
from pirt.visual.data_summary import SUMMARY_FILE, DataSummary, summarise_data, write_summary
from pirt.visual.people import choose_pairs, draw_activations, draw_heatmaps
from pirt.visual.retrieval import draw_retrieval, spread_queries
from pirt.visual.rows import BASELINE_ROW, FULL_ROW, Compared, Selection, recipe, require_equal, table_row
from pirt.visual.style import FIGURE_FILES, save

PERSONS = 5


@dataclass(frozen=True)
class Sources:
    """What the figures show: finished runs, evaluations with their embeddings (if any), images and heatmaps."""

    runs: Sequence[tuple[Path, RunRecord]]
    evaluations: Sequence[tuple[Embeddings, Metrics]]
    manifest: Manifest
    store: Path


def find_sources(
    runs: Path, evaluations: Sequence[Path], manifest: Manifest, store: Path, selection: Selection | None
) -> Sources:
    """Find the runs, and the evaluations with their embeddings; with a `selection` only those that it holds."""
    folders = [path.parent for path in files_named(RECORD_FILE, runs)]
    records = [(folder, read_record(folder)) for folder in folders if not _is_kept_best(folder, runs)]
    if selection:
        records = [(folder, r) for folder, r in records if selection.holds(r.variant, r.params.seed)]
    if not records:
        raise ReportError(f"no finished run (a folder with {RECORD_FILE}) under {runs}; `pirt-train --out` makes one")
    measured = measured_in(evaluations)
    if selection:
        measured = {folder: one for folder, one in measured.items() if selection.holds(one.variant, one.seed)}
    if evaluations and not measured:
        raise ReportError(f"no {METRICS_FILE} under {', '.join(map(str, evaluations))}; `pirt-eval --out` writes one")
    found = list(zip(embeddings_of(measured, evaluations), measured.values(), strict=True))
    return Sources(records, found, manifest, store)


def _is_kept_best(folder: Path, runs: Path) -> bool:
    """Tell whether `folder` only holds the best weights of a run: RUN/best, or RUN.resume/best while it trains."""
    parts = folder.relative_to(runs).parts
    of_run = any((folder.parent / name).exists() for name in (RECORD_FILE, "logs"))
    return any(part.endswith(".resume") for part in parts) or (parts[-1:] == ("best",) and of_run)


def write_figures(out: Path, sources: Sources) -> None:
    """Draw the figures that the sources allow into the folder `out`, and write a summary of the data."""
    _require_one_recipe(sources)
    refuse_other_files(out, {SUMMARY_FILE, *FIGURE_FILES})
    store = store_for(sources.store, sources.manifest)
    in_order = _full_model_first(sources.runs)
    groups = next((params.model.part_groups for _, params in in_order if params.model.parts), named_groups("paper"))
    with written_whole(out) as folder:
        folder.mkdir()
        write_summary(_summary(sources.manifest, store, groups), folder)
        for name, figure in _people(sources, store, in_order, groups):
            save(figure, folder / f"{name}.png")
        backbones = sorted({record.params.model.backbone for _, record in sources.runs})
        for backbone in backbones:
            _draw_results(folder, sources, backbone, f"-{backbone}" if len(backbones) > 1 else "")


def _require_one_recipe(sources: Sources) -> None:
    """Raise when runs of one row, which are one line of a curve or one of the models compared, differ in more."""
    runs: Compared = {}
    for folder, record in sources.runs:
        model = record.params.model
        told = recipe(model, record.params.train, record.initial_weights_sha256)
        require_equal(runs, "figure", str(folder), told, model.backbone, table_row(model))
    measured: Compared = {}
    for embeddings, metrics in sources.evaluations:
        told = recipe(metrics.model, metrics.train, metrics.lineage.initial_weights_sha256)
        require_equal(measured, "figure", str(embeddings.path), told, metrics.model.backbone, table_row(metrics.model))


def _draw_results(folder: Path, sources: Sources, backbone: str, mark: str) -> None:
    """Draw the curves and the rank lists of one backbone; `mark` ends the files' names."""
    if curves := read_curves([(run, r) for run, r in sources.runs if r.params.model.backbone == backbone]):
        save(draw_curves(curves), folder / f"curves{mark}.png")
    if models := _compared([one for one in sources.evaluations if one[1].model.backbone == backbone]):
        lists = draw_retrieval(models, sources.manifest, spread_queries(models[0][1], PERSONS))
        save(lists, folder / f"ranks{mark}.png")


def _summary(manifest: Manifest, store: HeatmapStore, groups: NamedGroups) -> DataSummary:
    scores = store.scores[store.indices_of(manifest.rows)]
    # By the manifest's names, which need not be those that the store was made with.
    skipped = set(manifest.keys) - {row.key for row in without_skipped(store, manifest.rows)}
    return summarise_data(manifest.rows, scores, skipped, groups)


def _full_model_first(runs: Sequence[tuple[Path, RunRecord]]) -> list[tuple[Path, Params]]:
    """Order runs so that the full model of the lowest seed comes first."""
    params = ((run, record.params) for run, record in runs)
    return sorted(params, key=lambda pair: (table_row(pair[1].model) != FULL_ROW, pair[1].seed))


def _people(
    sources: Sources, store: HeatmapStore, in_order: Sequence[tuple[Path, Params]], groups: NamedGroups
) -> Iterator[tuple[str, Figure]]:
    """Yield the heatmaps by part group, and for each backbone the activations of its first run that has an IRM."""
    manifest = sources.manifest
    rows = choose_pairs(Manifest(without_skipped(store, manifest.rows), manifest.root), PERSONS)
    manifest.require_files(rows)
    cache = load_heatmaps(store, rows)
    yield "heatmaps", draw_heatmaps(images_for(sources.runs[0][1].params.train, manifest, rows, cache), groups)
    with_irm: dict[str, tuple[Path, Params]] = {}
    for run, params in in_order:
        if params.model.intra:
            with_irm.setdefault(params.model.backbone, (run, params))
    several = len({params.model.backbone for _, params in in_order}) > 1
    for backbone, (run, params) in sorted(with_irm.items()):
        require_masks(store, params.model.tau)
        images = images_for(params.train, manifest, rows, cache)
        yield f"activations{f'-{backbone}' if several else ''}", draw_activations(load_run(run)[0], images)


def _compared(found: Sequence[tuple[Embeddings, Metrics]]) -> list[tuple[str, Embeddings, EvaluateParams]]:
    """Return the baseline and the full model, each of its lowest seed, with their titles and how they were ranked."""
    # Highest seed first: of several runs of one row the last one stays.
    by_seed = sorted(found, key=lambda one: one[1].seed, reverse=True)
    of_row = {table_row(metrics.model): (embeddings, metrics.protocol) for embeddings, metrics in by_seed}
    return [(title, *of_row[row]) for row, title in ((BASELINE_ROW, "baseline"), (FULL_ROW, "Pirt")) if row in of_row]
