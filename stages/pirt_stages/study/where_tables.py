"""What `pirt-report where` writes: tables for people, tables for programs, and a plot."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pirt.visual.style import COLOURS, new_figure, save
from pirt_stages.study.bins import Bin
from pirt_stages.study.confidence import COMPARED
from pirt_stages.study.truth import Floats
from pirt_stages.study.writing import TextTable, as_csv, with_spread

FILES = TABLES, PRECISIONS, CONFIDENCES, PLOT = "where.md", "where.csv", "confidence.csv", "where.png"


@dataclass(frozen=True)
class VariantRow:
    """One variant over S seeds: average precisions S×2·Q, NaN where the protocol counts none."""

    name: str
    seeds: tuple[int, ...]
    precisions: Floats
    confidence: dict[str, list[tuple[float, float]]]
    """By part, and of all together: each seed's rank correlations."""

    def scores(self, one: Bin) -> list[float]:
        """Return each seed's mAP over a bin, in percent."""
        return [100 * float(np.nanmean(seed[one.samples])) for seed in self.precisions]

    def queries(self, one: Bin) -> int:
        """Return how many of a bin count."""
        return int(np.count_nonzero(~np.isnan(self.precisions[0][one.samples])))


def write_where(folder: Path, rows: Sequence[VariantRow], bins: Sequence[Bin]) -> None:
    """Write `FILES`."""
    # A bin all of whose queries the protocol leaves out has no mean.
    bins = [one for one in bins if rows[0].queries(one)]
    tables = [*_precision_tables(rows, bins), *_confidence_tables(rows)]
    (folder / TABLES).write_text("\n".join(table.as_markdown() for table in tables), encoding="utf-8", newline="")
    precisions = as_csv(("trait", "bin", "queries", "variant", "seed", "mAP"), _precision_lines(rows, bins))
    (folder / PRECISIONS).write_text(precisions, encoding="utf-8", newline="")
    confidences = as_csv(("variant", "part", "seed", *COMPARED), _confidence_lines(rows))
    (folder / CONFIDENCES).write_text(confidences, encoding="utf-8", newline="")
    save(_drawn(rows, bins), folder / PLOT)


def _precision_tables(rows: Sequence[VariantRow], bins: Sequence[Bin]) -> list[TextTable]:
    return [
        TextTable(
            f"mAP: {trait}",
            (trait, "queries", *(row.name for row in rows)),
            [(one.label, str(rows[0].queries(one)), *(with_spread(row.scores(one)) for row in rows)) for one in chosen],
        )
        for trait, chosen in groupby(bins, key=lambda one: one.trait)
    ]


def _confidence_tables(rows: Sequence[VariantRow]) -> list[TextTable]:
    lines = [
        (f"{row.name}, {part}", *(with_spread(values) for values in zip(*pairs, strict=True)))
        for row in rows
        for part, pairs in row.confidence.items()
    ]
    return (
        [TextTable("Rank correlation of confidence with what is visible", ("part", *COMPARED), lines)] if lines else []
    )


def _precision_lines(rows: Sequence[VariantRow], bins: Sequence[Bin]) -> list[tuple[object, ...]]:
    return [
        (one.trait, one.label, row.queries(one), row.name, seed, f"{score:.3f}")
        for one in bins
        for row in rows
        for seed, score in zip(row.seeds, row.scores(one), strict=True)
    ]


def _confidence_lines(rows: Sequence[VariantRow]) -> list[tuple[object, ...]]:
    return [
        (row.name, part, seed, *(f"{value:.4f}" for value in pair))
        for row in rows
        for part, pairs in row.confidence.items()
        for seed, pair in zip(row.seeds, pairs, strict=True)
    ]


def _drawn(rows: Sequence[VariantRow], bins: Sequence[Bin]) -> Figure:
    """Draw a panel for each trait, a place for each bin, a colour for each row; bars are the deviation over seeds."""
    traits = [(trait, list(chosen)) for trait, chosen in groupby(bins, key=lambda one: one.trait)]
    figure = new_figure(7.2, 2.6 * -(-len(traits) // 2) + 0.4)
    panels = list(figure.subplots(-(-len(traits) // 2), 2, squeeze=False).flat)
    for panel, (trait, chosen) in zip(panels, traits, strict=False):
        _panel(panel, trait, rows, chosen)
    for panel in panels[len(traits) :]:
        panel.remove()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _panel(panel: Axes, trait: str, rows: Sequence[VariantRow], bins: Sequence[Bin]) -> None:
    for number, row in enumerate(rows):
        scores = np.array([row.scores(one) for one in bins])
        # Side by side, so that no row's bars hide another's.
        places = np.arange(len(bins)) + 0.12 * (number - (len(rows) - 1) / 2)
        # The sample's deviation, as in the tables.
        spread = scores.std(axis=1, ddof=1) if len(row.seeds) > 1 else None
        panel.errorbar(
            places,
            scores.mean(axis=1),
            spread,
            color=COLOURS[number % len(COLOURS)],
            marker="o",
            markersize=3,
            linestyle="none",
            elinewidth=0.8,
            capsize=2,
            label=row.name,
        )
    panel.set_title(trait, fontsize=9)
    panel.set_xticks(range(len(bins)), [one.label for one in bins], rotation=25, ha="right", fontsize=7)
    panel.set_ylabel("mAP, %")
    panel.grid(alpha=0.25, linewidth=0.5)
