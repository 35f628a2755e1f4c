"""`report.json`: the tables of a report and the lineage of what stands in them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pirt.core.params import Frozen
from pirt.ranking.results import Origins
from pirt_stages.report import paper
from pirt_stages.report.measured import Measured

Printed = Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+$")]


class Entry(Frozen):
    """One benchmark's part of a row; `ours` is None for a row that we can run but did not."""

    runnable: bool = True
    ours: Measured | None = None
    published: tuple[Printed | None, Printed | None] | None = None


class Row(Frozen):
    """One line of a table: what it stands for, and an entry for each benchmark of the table."""

    head: tuple[str, ...]
    entries: tuple[Entry, ...]


class Table(Frozen):
    """One table of the paper."""

    number: int
    caption: str
    benchmarks: Annotated[tuple[str, ...], Field(min_length=1)]
    head: Annotated[tuple[str, ...], Field(min_length=1)]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @model_validator(mode="after")
    def _is_rectangular(self) -> Self:
        for row in self.rows:
            if (len(row.head), len(row.entries)) != (len(self.head), len(self.benchmarks)):
                raise ValueError(f"the row {row.head} does not fit the columns {self.head} of {self.benchmarks}")
            # They are an axis of its plot.
            if self.number == 4 and row.head[0] not in map(str, paper.TABLE_4):
                raise ValueError(f"the row {row.head} is none of Table 4")
        return self

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
    runs: Annotated[tuple["RunLineage", ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _tells_every_run(self) -> Self:
        told = {(run.benchmark, run.run) for run in self.runs}
        for table in self.tables:
            for row in table.rows:
                for benchmark, entry in zip(table.benchmarks, row.entries, strict=True):
                    if entry.ours and (lacking := {(benchmark, run) for run in entry.ours.runs} - told):
                        raise ValueError(f"table {table.number} names a run that is not listed: {min(lacking)}")
        return self


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
