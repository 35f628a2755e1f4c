"""The recipe of `pirt-report curve`: mAP over the length of the training, each length a separate training."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from pirt.core.errors import ReportError
from pirt.core.manifest import Manifest
from pirt.core.pids import DISTRACTOR_PID
from pirt.training.sampler import PKSampler
from pirt.visual.rows import Selection, row_label
from pirt.visual.style import COLOURS, new_figure, save
from pirt_stages.study.runs import Run, find_runs, require_comparable
from pirt_stages.study.writing import TextTable, as_csv, with_spread, written_analysis

FILES = TABLE, NUMBERS, PLOT = "curve.md", "curve.csv", "curve.png"

Points = Mapping[str, Mapping[int, Mapping[int, float]]]
"""mAP in percent by row of the tables, then by steps, then by seed."""


def curve(places: Sequence[Path], selection: Selection | None, manifest: Manifest, out: Path) -> None:
    """Write a table and a plot of the evaluations in `places` into `out`; all were trained on `manifest`."""
    points: dict[str, dict[int, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    runs = find_runs(places, selection)
    told = [(row_label(run.row), steps_of(run, manifest)) for run in runs]
    require_comparable(runs, [f"{label}, {steps} steps" for label, steps in told])
    for run, (label, steps) in zip(runs, told, strict=True):
        points[label][steps][run.metrics.seed] = 100 * run.metrics.mean_ap
    with written_analysis(out, FILES) as folder:
        _write(folder, points)


def steps_of(run: Run, manifest: Manifest) -> int:
    """Return how many steps a run was trained for."""
    train = run.metrics.train
    if run.metrics.lineage.trained_on_manifest != manifest.fingerprint:
        raise ReportError(f"{run.folder} was trained on another manifest; pass that one")
    # A run records epochs; how many steps these are is the sampler's to say.
    pids = manifest.split("train").pids
    sampler = PKSampler(
        pids[pids > DISTRACTOR_PID].tolist(),
        by=train.sampler,
        identities=train.identities,
        instances=train.instances,
        seed=run.metrics.seed,
    )
    return train.epochs * sampler.batches


def _write(folder: Path, points: Points) -> None:
    lengths = sorted({steps for of_row in points.values() for steps in of_row})
    cells = {row: {n: with_spread([*told.values()]) for n, told in of_row.items()} for row, of_row in points.items()}
    rows = [(str(steps), *(of_row.get(steps, "–") for of_row in cells.values())) for steps in lengths]
    table = TextTable("mAP by training steps", ("steps", *points), rows).as_markdown()
    (folder / TABLE).write_text(table, encoding="utf-8", newline="")
    lines = [
        (label, steps, seed, f"{score:.3f}")
        for label, of_row in points.items()
        for steps, of_length in sorted(of_row.items())
        for seed, score in sorted(of_length.items())
    ]
    (folder / NUMBERS).write_text(as_csv(("row", "steps", "seed", "mAP"), lines), encoding="utf-8", newline="")
    save(_drawn(points, lengths), folder / PLOT)


def _drawn(points: Points, lengths: Sequence[int]) -> Figure:
    """Draw a line for each row: the mean over seeds, bars for their deviation."""
    figure = new_figure(5.4, 3.6)
    axes = figure.subplots()
    for number, (label, of_row) in enumerate(points.items()):
        there = sorted(of_row)
        scores = [[*of_row[steps].values()] for steps in there]
        spread = [stdev(values) if len(values) > 1 else 0.0 for values in scores]
        axes.errorbar(
            there,
            [fmean(values) for values in scores],
            spread,
            color=COLOURS[number % len(COLOURS)],
            marker="o",
            markersize=3,
            linewidth=1.2,
            capsize=3,
            label=label,
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(lengths)
    # Steps as numbers; a logarithmic axis would write powers of two.
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.minorticks_off()
    axes.set_xlabel("training steps, each length with a schedule of its own")
    axes.set_ylabel("mAP, %")
    axes.grid(alpha=0.25, linewidth=0.5)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure
