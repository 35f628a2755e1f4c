"""The report folder: tables/, figures/ and the page."""

from pathlib import Path

from pydantic import ValidationError

from pirt.files import written_whole
from stages.report.formats import as_csv, as_latex, as_markdown, as_text
from stages.report.lineage import lineage_csv, lineage_markdown
from stages.report.results import ReportError
from stages.report.tables import Report

TABLES = "tables"
FIGURES = "figures"
PAGE = "report.html"
_REPORT = "report.json"


def write_tables(report: Report, out: Path) -> None:
    """Write every table in every format, and the lineage, into the folder `tables` of `out`."""
    files = {
        _REPORT: report.model_dump_json(indent=1) + "\n",
        "tables.md": "\n".join(as_markdown(table) for table in report.tables),
        "lineage.md": lineage_markdown(report),
        "lineage.csv": lineage_csv(report),
    }
    for table in report.tables:
        name = f"table{table.number}"
        files |= {f"{name}.md": as_markdown(table), f"{name}.csv": as_csv(table), f"{name}.tex": as_latex(table)}
    with written_whole(out / TABLES) as folder:
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8", newline="")


def read_report(out: Path) -> Report:
    """Read back what `write_tables` wrote."""
    path = out / TABLES / _REPORT
    try:
        return Report.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ReportError(f"{out} holds no report; `pirt-report tables --out {out}` makes one") from None
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise ReportError(f"{path} is not a report of this version; make it again with `pirt-report tables`") from error


def print_report(out: Path) -> str:
    """Return the tables as text, and below them where tables, figures and page lie."""
    report = read_report(out)
    places = [f"Tables, with the lineage of every number: {out / TABLES}"]
    places += [f"Figure: {path}" for path in figure_files(out)]
    places += [f"Page: {out / PAGE}"] if (out / PAGE).is_file() else []
    return "\n".join([*(as_text(table) for table in report.tables), *places, ""])


def figure_files(out: Path) -> list[Path]:
    """Return the pictures of the report folder in order of their names."""
    return sorted((out / FIGURES).rglob("*.png"))
