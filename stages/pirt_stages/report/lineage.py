"""Where each of our cells comes from: parameters, checkpoint, heatmap store and manifest of each run."""

import csv
import io
import json

from pirt.core.errors import ReportError
from pirt.core.texts import plain_cell
from pirt.ranking.results import Origins
from pirt_stages.report.plain import plain_code, plain_markdown
from pirt_stages.report.schema import Report, RunLineage

_ORIGINS = tuple(Origins.model_fields)


def anchor(benchmark: str, configuration: str) -> str:
    """Return the name by which a table's cell links to its runs."""
    return slug(f"{benchmark} {configuration}")


def slug(text: str) -> str:
    """Return `text` in lower-case letters and digits, joined by hyphens."""
    return "-".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def table_names(report: Report) -> list[str]:
    """Return a file name for each table: table3, or table3-market-1501 where there are several Tables 3."""
    numbers = [table.number for table in report.tables]
    names = [
        f"table{table.number}" + (f"-{slug(' '.join(table.benchmarks))}" if numbers.count(table.number) > 1 else "")
        for table in report.tables
    ]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ReportError(f"two tables would be named {twice}; give the benchmarks names of other letters or digits")
    return names


def sections(report: Report) -> dict[str, list[RunLineage]]:
    """Return the runs, all seeds of one configuration together, by their anchor."""
    found: dict[str, list[RunLineage]] = {}
    for run in report.runs:
        found.setdefault(anchor(run.benchmark, run.configuration), []).append(run)
    return found


def lineage_csv(report: Report) -> str:
    """Return one line for each cell group of ours: table, benchmark, row, run and the run's origins."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["table", "benchmark", "row", "run", "seed", *_ORIGINS, "model", "train"])
    runs = {(run.benchmark, run.run): run for run in report.runs}
    # A run stands in several tables, and has a line in each.
    for table in report.tables:
        for row in table.rows:
            for benchmark, entry in zip(table.benchmarks, row.entries, strict=True):
                for name in entry.ours.runs if entry.ours else ():
                    run = runs[benchmark, name]
                    origins = run.lineage.model_dump().values()
                    cells = [table.number, benchmark, " ".join(row.head), name, run.seed, *origins]
                    lines.writerow(
                        # Not the JSON, which begins with a brace and so is no formula.
                        [plain_cell(cell) if isinstance(cell, str) else cell for cell in cells]
                        + [_compact(run.model), _compact(run.train)]
                    )
    return text.getvalue()


def lineage_markdown(report: Report) -> str:
    """Return a section for each configuration, the target of the tables' links."""
    lines = ["# Lineage", ""]
    for name, runs in sections(report).items():
        lines += [
            # An anchor of our own: programs that show Markdown derive different ones from a heading.
            f'<a id="{name}"></a>',
            "",
            f"## {plain_markdown(f'{runs[0].configuration} on {runs[0].benchmark}')}",
            "",
        ]
        for run in runs:
            lines += [
                f"- seed {run.seed} ({plain_markdown(run.run)})",
                *(f"  - {name}: `{plain_code(value)}`" for name, value in facts(run)),
            ]
        lines.append("")
    return "\n".join(lines)


def facts(run: RunLineage) -> list[tuple[str, str]]:
    """Return the run's origins and parameters as (name, text)."""
    origins = [(name, str(value)) for name, value in run.lineage.model_dump(exclude_none=True).items()]
    tables = {"model": run.model, "training": run.train, "protocol": run.protocol, "counts": run.counts}
    return [*origins, *((name, _compact(table)) for name, table in tables.items() if table)]


def _compact(table: object) -> str:
    # Sorted, so that runs can be compared line by line.
    return json.dumps(table, sort_keys=True, ensure_ascii=False)
