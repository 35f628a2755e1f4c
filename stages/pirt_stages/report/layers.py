"""Table 4 as a plot."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pirt.visual.style import BLUE, RED, new_figure
from pirt_stages.report.formats import PRINTED
from pirt_stages.report.schema import Table

_COLOURS = (BLUE, RED)


def draw_layers(table: Table) -> Figure:
    """Draw our mAP and Rank-1 over N with their deviation over seeds, and the paper's where it stands beside."""
    figure = new_figure(4.8, 3.4)
    axes = figure.subplots()
    for index, (name, label) in enumerate(PRINTED.items()):
        _draw_metric(axes, table, index, name, label)
    axes.set_xticks([int(row.head[0]) for row in table.rows])
    axes.set_xlabel("N, inter-part transformer units")
    axes.set_ylabel("%")
    axes.set_title(", ".join(table.benchmarks), fontsize=9)
    axes.margins(x=0.08, y=0.15)
    axes.grid(alpha=0.25, linewidth=0.5)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def _draw_metric(axes: Axes, table: Table, index: int, name: str, label: str) -> None:
    entries = [(int(row.head[0]), row.entries[0]) for row in table.rows]
    ours = [(layers, entry.ours.scores[name]) for layers, entry in entries if entry.ours]
    layers, means = [layers for layers, _ in ours], [score.mean for _, score in ours]
    axes.plot(layers, means, color=_COLOURS[index], marker="o", markersize=4, linewidth=1.4, label=label)
    spread = [(layers, score.mean, score.std) for layers, score in ours if score.std is not None]
    # One by one: a row of a single seed has no deviation.
    for at, mean, std in spread:
        axes.errorbar(at, mean, std, color=_COLOURS[index], capsize=3, linewidth=1)
    # matplotlib leaves NaN out.
    paper = [(at, float(entry.published[index] or "nan")) for at, entry in entries if entry.published]
    if paper:
        axes.plot(
            *zip(*paper, strict=True),
            color=_COLOURS[index],
            linestyle="--",
            marker="o",
            markerfacecolor="white",
            markersize=4,
            linewidth=1,
            label=f"{label}, paper",
        )
