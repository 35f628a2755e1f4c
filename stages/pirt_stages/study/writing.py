"""The small tables of an analysis, as Markdown and CSV, and the folder that they lie in."""

import csv
import io
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from statistics import fmean, stdev

from pirt.core.files import refuse_other_files, written_whole
from pirt.core.texts import plain_cell

_AS_IT_IS = frozenset(" .,:;+-–−%±×()/=<")


@dataclass(frozen=True)
class TextTable:
    """Cells as text; the first column names the rows."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def as_markdown(self) -> str:
        """Return the table under its title."""
        align = [":--"] + ["--:"] * (len(self.head) - 1)
        lines = [_line(self.head), f"| {' | '.join(align)} |", *map(_line, self.rows)]
        return "\n".join([f"### {self.title}", "", *lines, ""])


def _line(cells: Sequence[str]) -> str:
    # A variant may have any name, one with marks of Markdown or HTML too.
    plain = ("".join(c if c.isalnum() or c in _AS_IT_IS else f"&#{ord(c)};" for c in cell) for cell in cells)
    return f"| {' | '.join(plain)} |"


def as_csv(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return lines that no spreadsheet takes for formulas."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    # Names of variants and parts come from a parameter file, which may be anybody's.
    lines.writerows([plain_cell(str(cell)) for cell in line] for line in [head, *rows])
    return text.getvalue()


def with_spread(values: Sequence[float]) -> str:
    """Return mean ± standard deviation over seeds; one seed has none."""
    mean = f"{fmean(values):.2f}".replace("-", "−")
    # Of no number, such as the correlation of a constant, Python's stdev knows nothing.
    return mean + (f" ± {stdev(values):.2f}" if len(values) > 1 and isfinite(fmean(values)) else "")


@contextmanager
def written_analysis(out: Path, names: Collection[str]) -> Iterator[Path]:
    """Yield a folder to write `names` into, which becomes `out`; a folder that holds other files is not replaced."""
    refuse_other_files(out, names)
    with written_whole(out) as folder:
        folder.mkdir()
        yield folder
