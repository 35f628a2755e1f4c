"""`report.json`: the tables of a report and the lineage of what stands in them."""

from typing import Literal

from pirt.core.params import Frozen
from pirt.ranking.results import Origins
from pirt_stages.report import paper
from pirt_stages.report.measured import Measured


class Entry(Frozen):
    """One benchmark's part of a row; `ours` is None for a row that we can run but did not."""

    runnable: bool = True
    ours: Measured | None = None
    published: paper.Published | None = None


class Row(Frozen):
    """One line of a table: what it stands for, and an entry for each benchmark of the table."""

    head: tuple[str, ...]
    entries: tuple[Entry, ...]


class Table(Frozen):
    """One table of the paper."""

    number: int
    caption: str
    benchmarks: tuple[str, ...]
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def topic(self) -> str:
        """Return the caption with the benchmarks."""
        return f"{self.caption} on {' and '.join(self.benchmarks)}"

    @property
    def title(self) -> str:
        """Return the caption with number and benchmarks."""
        return f"Table {self.number}. {self.topic}"


class Report(Frozen):
    """All tables of a report and the lineage of every run in them."""

    format_version: Literal[1] = 1
    tables: tuple[Table, ...]
    runs: tuple["RunLineage", ...]


class RunLineage(Frozen):
    """What one run was made with and from; `run` is its name in the tables."""

    configuration: str
    run: str
    benchmark: str
    seed: int
    variant: str | None
    model: dict[str, object]
    train: dict[str, object]
    protocol: dict[str, object]
    counts: dict[str, int]
    lineage: Origins
