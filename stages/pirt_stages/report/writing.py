"""The report folder: tables/, figures/ and the page."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from pirt.core.errors import ReportError
from pirt.core.files import (
    is_clutter,
    is_free,
    pass_on_refusal,
    reading,
    refuse_other_files,
    refuse_stream,
    remove_left_over,
    written_whole,
)
from pirt.core.texts import LARGEST_JSON, bytes_within
from pirt.visual.data_summary import SUMMARY_FILE, read_summary
from pirt.visual.style import FIGURE_FILES, save
from pirt_stages.report.formats import as_csv, as_latex, as_markdown, as_text
from pirt_stages.report.layers import draw_layers
from pirt_stages.report.lineage import lineage_csv, lineage_markdown, slug, table_names
from pirt_stages.report.page import page
from pirt_stages.report.schema import Report
from pirt_stages.report.tables import join_tables

TABLES = "tables"
FIGURES = "figures"
PLOTS = "plots"
PAGE = "report.html"
_REPORT = "report.json"
_SUFFIXES = (".md", ".csv", ".tex")
"""Of a table."""
_PNG = b"\x89PNG"
"""How a picture begins."""


def write_tables(report: Report, out: Path) -> None:
    """Write every table in every format, and the lineage, into the folder `tables` of `out`."""
    files = {
        _REPORT: report.model_dump_json(indent=1) + "\n",
        "tables.md": "\n".join(as_markdown(table) for table in report.tables),
        "lineage.md": lineage_markdown(report),
        "lineage.csv": lineage_csv(report),
    }
    for name, table in zip(table_names(report), report.tables, strict=True):
        files |= {f"{name}.md": as_markdown(table), f"{name}.csv": as_csv(table), f"{name}.tex": as_latex(table)}
    _refuse_unless_a_report(out, TABLES, PLOTS)
    names = {*table_names(report), *_earlier_names(out)}
    refuse_other_files(out / TABLES, {*files, *(f"{name}{suffix}" for name in names for suffix in _SUFFIXES)})
    # Not by the tables that are there: a kill may have left them beside plots of an earlier report.
    refuse_other_files(out / PLOTS, {"table4.png"}, {"table4-*.png"})
    # All of a folder at once: tables of an earlier report that this one has no more would stay. The tables are in place
    # first: they tell that the plots are of a report.
    with written_whole(out / PLOTS) as plots, written_whole(out / TABLES) as folder:
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8", newline="")
        plots.mkdir()
        for name, table in zip(table_names(report), report.tables, strict=True):
            if table.number == 4:
                save(draw_layers(table), plots / f"{name}.png")


def _earlier_names(out: Path) -> set[str]:
    """Return the names of an earlier report's tables; where it cannot be read, of all that may be some."""
    try:
        return set(table_names(read_report(out)))
    except ReportError:
        return {path.stem for path in (out / TABLES).glob("*") if path.suffix in _SUFFIXES}


def _refuse_unless_a_report(out: Path, *folders: str) -> None:
    """Raise when a folder that no report made would be replaced; tables that a kill left aside are put back first."""
    if out.is_dir():
        remove_left_over(out / TABLES)
    for folder in (out / name for name in folders):
        if folder.is_file():
            raise ReportError(f"{folder} is a file, not a folder; name another --out or remove it")
        if folder.is_dir() and not is_free(folder) and not (out / TABLES / _REPORT).is_file():
            raise ReportError(
                f"{folder} was not made by `pirt-report` and would be replaced; name another --out or remove it"
            )


def read_report(out: Path) -> Report:
    """Read back what `write_tables` wrote."""
    path = out / TABLES / _REPORT
    try:
        return Report.model_validate_json(bytes_within(path, LARGEST_JSON))
    except (FileNotFoundError, NotADirectoryError):
        raise ReportError(f"{out} holds no report; `pirt-report tables --out {out}` makes one") from None
    except (OSError, ValueError) as error:
        pass_on_refusal(error)
        raise ReportError(f"{path} is not a report of this version; make it again with `pirt-report tables`") from error


def print_report(out: Path) -> str:
    """Return the tables as text, and below them where tables, figures and page are."""
    report = read_report(out)
    places = [f"Tables, with the lineage of every number: {out / TABLES}"]
    places += [f"Figure: {path}" for path in figure_files(out)]
    places += [f"Page: {out / PAGE}"] if (out / PAGE).is_file() else []
    return "\n".join([*(as_text(table) for table in report.tables), *places, ""])


def join_reports(reports: Sequence[Path], out: Path) -> None:
    """Write one report of several benchmarks: tables of one number side by side, figures in a folder each."""
    parts = [read_report(report) for report in reports]
    # A part may be a joined report itself.
    names = [[slug(name) for name in dict.fromkeys(run.benchmark for run in part.runs)] for part in parts]
    every = [name for of_part in names for name in of_part]
    # Figures lie in a folder named by the benchmark, of which there can be one.
    if "" in every:
        raise ReportError("a benchmark's name has no letter or digit to name files by; make its report with another")
    if (twice := next((name for name in every if every.count(name) > 1), None)) is not None:
        raise ReportError(f"two of the reports are on {twice}; join reports of different benchmarks")
    _refuse_unless_a_report(out, FIGURES)
    tables = join_tables(table for part in parts for table in part.tables)
    joined = Report(tables=tables, runs=tuple(run for part in parts for run in part.runs))
    refuse_other_files(out / FIGURES, {*_figure_names(joined), *_earlier_figures(out)})
    with written_whole(out / FIGURES) as folder:
        folder.mkdir()
        for of_part, report in zip(names, reports, strict=True):
            for name, figure in _by_benchmark(report, of_part):
                (folder / name).mkdir(exist_ok=True)
                shutil.copyfile(figure, folder / name / figure.name)
        # Only now: a figure that cannot be read leaves the earlier tables.
        write_tables(joined, out)


def _by_benchmark(report: Path, names: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yield the figures and summaries of a report, each with its benchmark among `names`."""
    for figure in [*figure_files(report), *summary_files(report)]:
        if len(names) == 1:
            yield names[0], figure
        # Joining put each plot into its benchmark's folder too.
        elif figure.parent != report / PLOTS:
            if figure.parent.name not in names:
                raise ReportError(f"{figure} lies in no folder of {', '.join(names)}; remove it, or join anew")
            yield figure.parent.name, figure


def _figure_names(report: Report) -> Iterator[str]:
    """Yield what may lie in a report's folder of figures: its own, or in a folder each those of benchmarks it joins."""
    benchmarks = {slug(run.benchmark) for run in report.runs}
    plots = [
        f"table{table.number}{mark}.png" for table in report.tables for mark in ("", *(f"-{b}" for b in benchmarks))
    ]
    for folder in ("", *(f"{benchmark}/" for benchmark in benchmarks)):
        yield from (f"{folder}{name}" for name in (SUMMARY_FILE, *FIGURE_FILES, *plots))


def _earlier_figures(out: Path) -> Iterator[str]:
    try:
        yield from _figure_names(read_report(out))
    except ReportError:  # none, or of another version: then only what the new report has may be replaced
        return


def write_page(out: Path) -> None:
    """Write the page of the report folder `out`."""
    text = page(read_report(out), figure_files(out), {path: read_summary(path) for path in summary_files(out)})
    with written_whole(out / PAGE) as beside:
        beside.write_text(text, encoding="utf-8", newline="")


def summary_files(out: Path) -> list[Path]:
    """Return the data summaries of the report folder, one per benchmark."""
    return sorted((out / FIGURES).rglob(SUMMARY_FILE))


def figure_files(out: Path) -> list[Path]:
    """Return the pictures of the report folder in order of their names."""
    files = [*sorted((out / FIGURES).rglob("*.png")), *sorted((out / PLOTS).glob("*.png"))]
    # A Mac's ._ files end in .png too.
    files = [path for path in files if not is_clutter(path.name)]
    for path in files:
        refuse_stream(path)
        with reading(path), path.open("rb") as file:
            # Its bytes go into a page that is passed on; in a report of others it may be a link to a private file.
            if file.read(len(_PNG)) != _PNG:
                raise ReportError(f"{path} is not a PNG; remove it, or make the figures again")
    return files
