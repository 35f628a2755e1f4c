"""Tables as Markdown, CSV, LaTeX and plain text; all of them print the same grid of cells."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pirt.core.texts import plain_cell
from pirt_stages.report.lineage import anchor
from pirt_stages.report.measured import METRICS, Measured
from pirt_stages.report.paper import Published
from pirt_stages.report.plain import LINE_ENDS, plain_markdown
from pirt_stages.report.schema import Entry, Row, Table

MISSING = "–"
PRINTED = {"mAP": "mAP", "rank-1": "Rank-1"}


@dataclass(frozen=True, slots=True)
class Cell:
    """The text of one cell, and for ours the anchor in the lineage of the runs that it comes from."""

    text: str
    anchor: str | None = None


@dataclass(frozen=True, slots=True)
class PrintedTable:
    """A table as printed: `groups` are (benchmark, number of columns) after the `labels` first columns."""

    labels: int
    groups: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def laid_out(table: Table) -> PrintedTable:
    """Lay out `table`: our columns for each benchmark, then the paper's and the difference where published."""
    with_paper = [
        any(row.entries[index].published is not None for row in table.rows) for index in range(len(table.benchmarks))
    ]
    columns = list(table.head)
    for published in with_paper:
        columns += PRINTED.values()
        columns += ["paper mAP", "paper Rank-1", "Δ mAP", "Δ Rank-1"] if published else []
    rows = tuple(
        tuple(Cell(text) for text in row.head)
        + tuple(
            cell
            for benchmark, entry, published in zip(table.benchmarks, row.entries, with_paper, strict=True)
            for cell in _cells(benchmark, entry, with_paper=published)
        )
        for row in table.rows
    )
    sizes = tuple(6 if published else 2 for published in with_paper)
    return PrintedTable(len(table.head), tuple(zip(table.benchmarks, sizes, strict=True)), tuple(columns), rows)


def _cells(benchmark: str, entry: Entry, *, with_paper: bool) -> list[Cell]:
    link = anchor(benchmark, entry.ours.configuration) if entry.ours else None
    ours = [Cell(score_text(entry, name), link) for name in PRINTED]
    if not with_paper:
        return ours
    published = entry.published or (None, None)
    deltas = [delta(entry.ours, name, published) for name in PRINTED]
    return [
        *ours,
        *(Cell(number or MISSING) for number in published),
        *(Cell(signed(value)) for value in deltas),
    ]


def signed(value: float | None) -> str:
    """Return a difference with its sign; blank for None."""
    return "" if value is None else f"{value:+.2f}".replace("-", "−")


def score_text(entry: Entry, name: str) -> str:
    """Return our score with its spread and marks; – for a run that is missing, blank for a method that is not ours."""
    if entry.ours is None:
        return MISSING if entry.runnable else ""
    score = entry.ours.scores[name]
    spread = "" if score.std is None else f" ± {score.std:.2f}"
    return f"{score.mean:.2f}{spread}{entry.ours.marks}"


def delta(ours: Measured | None, name: str, published: Published) -> float | None:
    """Return ours, as printed, minus the published number."""
    # As printed, so that readers who subtract get the same.
    number = published[list(PRINTED).index(name)]
    return None if ours is None or number is None else round(ours.scores[name].mean, 2) - float(number)


def as_markdown(table: Table) -> str:
    """Return a Markdown table in which our cells link to their runs in lineage.md."""
    laid = laid_out(table)
    several = len(laid.groups) > 1
    columns = list(laid.columns)
    if several:
        names = [name for name, size in laid.groups for _ in range(size)]
        columns[laid.labels :] = [f"{name}: {c}" for name, c in zip(names, columns[laid.labels :], strict=True)]
    align = [":--"] * laid.labels + ["--:"] * (len(columns) - laid.labels)
    lines = [f"### {plain_markdown(table.title)}", "", _piped(map(plain_markdown, columns)), _piped(align)]
    lines += [_piped([_linked(cell) for cell in row]) for row in laid.rows]
    return "\n".join([*lines, "", *(f"- {plain_markdown(note)}" for note in table.notes), ""])


def _piped(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _linked(cell: Cell) -> str:
    text = plain_markdown(cell.text)
    return f"[{text}](lineage.md#{cell.anchor})" if cell.anchor else text


def as_text(table: Table) -> str:
    """Return the table aligned for a terminal."""
    laid = laid_out(table)
    texts = [list(laid.columns), *([cell.text for cell in row] for row in laid.rows)]
    widths = [max(len(line[index]) for line in texts) for index in range(len(laid.columns))]
    lines = ["  ".join(_aligned(line, widths, laid.labels)).rstrip() for line in texts]
    if len(laid.groups) > 1:
        lines.insert(0, _group_line(laid, widths))
    rule = "─" * max(map(len, lines))
    head = len(lines) - len(laid.rows)
    return "\n".join([table.title, rule, *lines[:head], rule, *lines[head:], rule, *table.notes, ""])


def _aligned(line: Sequence[str], widths: Sequence[int], labels: int) -> list[str]:
    return [
        text.ljust(width) if index < labels else text.rjust(width)
        for index, (text, width) in enumerate(zip(line, widths, strict=True))
    ]


def _group_line(laid: PrintedTable, widths: Sequence[int]) -> str:
    parts = [" " * (sum(widths[: laid.labels]) + 2 * (laid.labels - 1))]
    start = laid.labels
    for name, size in laid.groups:
        parts.append(name.center(sum(widths[start : start + size]) + 2 * (size - 1)))
        start += size
    return "  ".join(parts).rstrip()


def as_csv(table: Table) -> str:
    """Return a line for each row and benchmark: every metric, its spread, the paper's numbers and the runs."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    scores = [column for name in METRICS for column in (name, f"{name} std")]
    paper = ["paper mAP", "paper rank-1", "delta mAP", "delta rank-1"]
    lines.writerow(["benchmark", *table.head, *scores, "seeds", "epochs", *paper, "runs"])
    for row in table.rows:
        for benchmark, entry in zip(table.benchmarks, row.entries, strict=True):
            lines.writerow(map(plain_cell, [benchmark, *row.head, *_numbers(entry)]))
    return text.getvalue()


def _numbers(entry: Entry) -> list[str]:
    ours, published = entry.ours, entry.published or (None, None)
    deltas = [delta(ours, name, published) for name in PRINTED]
    # Text stays text for the paper's numbers, whose last digit counts.
    paper = [*(number or "" for number in published), *("" if d is None else f"{d:.2f}" for d in deltas)]
    if ours is None:
        return [""] * (2 * len(METRICS) + 2) + [*paper, ""]
    scores = [
        text
        for name in METRICS
        for text in (
            f"{ours.scores[name].mean:.2f}",
            "" if ours.scores[name].std is None else f"{ours.scores[name].std:.2f}",
        )
    ]
    seeds = " ".join(map(str, ours.seeds))
    return [*scores, seeds, str(ours.epochs), *paper, " ".join(ours.runs)]


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "$": r"\$", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "✓": r"$\checkmark$", "×": r"$\times$",
    "±": r"$\pm$", "Δ": r"$\Delta$", "−": "$-$", "†": r"$^\dagger$", "‡": r"$^\ddagger$", "–": "--",
    # LaTeX's default fonts have other signs in the places of these.
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''",
}  # fmt: skip


def _tex(text: str) -> str:
    return "".join((_LATEX | LINE_ENDS).get(character, character) for character in text)


def as_latex(table: Table) -> str:
    """Return a booktabs table; comments name the runs of each row."""
    laid = laid_out(table)
    columns = "l" * laid.labels + "r" * (len(laid.columns) - laid.labels)
    lines = ["% needs the packages booktabs and amssymb"]
    # Without its number, which LaTeX gives by itself.
    lines += [r"\begin{table}", r"\centering", rf"\caption{{{_tex(table.topic)}.}}", rf"\label{{tab:{table.number}}}"]
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    if len(laid.groups) > 1:
        spans = [rf"\multicolumn{{{size}}}{{c}}{{{_tex(name)}}}" for name, size in laid.groups]
        lines.append(" & ".join([*[""] * laid.labels, *spans]) + r" \\")
    lines += [" & ".join(map(_tex, laid.columns)) + r" \\", r"\midrule"]
    for row, cells in zip(table.rows, laid.rows, strict=True):
        # What stands after a line end would be no comment.
        lines += ["% " + "".join(LINE_ENDS.get(character, character) for character in run) for run in _runs(row)]
        lines.append(" & ".join(_tex(cell.text) for cell in cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = r"\\ ".join(map(_tex, table.notes))
    return "\n".join([*lines, rf"\par\smallskip{{\footnotesize {notes}}}", r"\end{table}", ""])


def _runs(row: Row) -> list[str]:
    return [run for entry in row.entries if entry.ours for run in entry.ours.runs]
