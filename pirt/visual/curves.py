"""Training curves from the logs that DVCLive leaves in the run folders."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pirt.core.errors import ReportError
from pirt.core.files import is_clutter
from pirt.core.texts import LARGEST_JSON, bytes_within
from pirt.runs.run import RunRecord
from pirt.visual.rows import TableRow, row_label, table_row
from pirt.visual.style import COLOURS, new_figure

_COLUMNS = 2


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric of one run over its steps."""

    steps: tuple[float, ...]
    values: tuple[float, ...]


Curves = dict[str, dict[TableRow, list[Curve]]]
"""By metric, then by row of the tables: a curve for each seed."""


def read_curves(runs: Sequence[tuple[Path, RunRecord]]) -> Curves:
    """Read the curves of run folders with their records."""
    curves: Curves = {}
    for run, record in runs:
        row = table_row(record.params.model)
        plots = run / "logs" / "plots" / "metrics"
        for path in sorted(path for path in plots.rglob("*.tsv") if not is_clutter(path.name)):
            name = path.relative_to(plots).with_suffix("").as_posix()
            curves.setdefault(name, {}).setdefault(row, []).append(_read_curve(path))
    return curves


def _read_curve(path: Path) -> Curve:
    try:
        lines = list(csv.reader(bytes_within(path, LARGEST_JSON).decode().splitlines(), delimiter="\t"))
        pairs = [(float(line[0]), float(line[-1])) for line in lines[1:]]
    except (ValueError, IndexError, csv.Error):
        raise ReportError(f"{path} is not a curve as DVCLive writes it (step and value, separated by a tab)") from None
    return Curve(tuple(step for step, _ in pairs), tuple(value for _, value in pairs))


def draw_curves(curves: Curves) -> Figure:
    """Draw a panel for each metric with a line for each row: the mean over seeds, each seed faintly."""
    rows = sorted({row for by_row in curves.values() for row in by_row})
    colours = {row: COLOURS[index % len(COLOURS)] for index, row in enumerate(rows)}
    lines = -(-len(curves) // _COLUMNS)
    figure = new_figure(6.6, 2.1 * lines + 0.9)
    panels = list(figure.subplots(lines, _COLUMNS, squeeze=False).flat)
    for panel, (name, by_row) in zip(panels, sorted(curves.items()), strict=False):
        _panel(panel, name, by_row, colours)
    for panel in panels[len(curves) :]:
        panel.remove()
    # One entry for each row, whichever panels have it; faint lines of single seeds have no label of a row.
    handles = {line.get_label(): line for panel in figure.axes for line in panel.get_lines()}
    labels = [row_label(row) for row in rows]
    figure.legend([handles[label] for label in labels], labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _panel(panel: Axes, name: str, by_row: Mapping[TableRow, Sequence[Curve]], colours: Mapping[TableRow, str]) -> None:
    for row, curves in sorted(by_row.items()):
        if len(curves) > 1:
            for curve in curves:
                panel.plot(curve.steps, curve.values, color=colours[row], linewidth=0.6, alpha=0.35)
        # Only steps that all seeds have: one may still be training.
        steps = [step for step in curves[0].steps if all(step in curve.steps for curve in curves)]
        values = [[value for step, value in zip(c.steps, c.values, strict=True) if step in steps] for c in curves]
        panel.plot(steps, np.mean(values, axis=0), color=colours[row], linewidth=1.4, label=row_label(row))
    panel.set_title(name.replace("_", " "), fontsize=9)
    panel.set_xlabel("epoch")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.grid(alpha=0.25, linewidth=0.5)
