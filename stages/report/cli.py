"""`pirt-report`: tables, figures and the page from what evaluation leaves."""

from pathlib import Path

import click

from stages.command import Command, Group
from stages.report.results import read_results
from stages.report.tables import build_report
from stages.report.writing import print_report, write_tables

EXISTING = click.Path(path_type=Path)


@click.group(cls=Group)
def main() -> None:
    """Tables, figures and one page of results, with the lineage of every number.

    \b
    Example:
      pirt-report tables --benchmark market-1501 --metrics runs/evaluate --out runs/report
      pirt-report show runs/report
    """


@main.command(cls=Command)
@click.option("--benchmark", required=True, help="Name for the titles; the paper's benchmarks are recognised.")
@click.option(
    "--metrics",
    "metrics",
    type=EXISTING,
    multiple=True,
    required=True,
    help="A metrics.json, or a folder searched for them; may be repeated.",
)
@click.option("--stand-in", is_flag=True, help="The images stand in for the benchmark's: no published numbers.")
@click.option("--out", type=EXISTING, required=True, help="Report folder; the tables go into its folder tables.")
def tables(benchmark: str, metrics: tuple[Path, ...], stand_in: bool, out: Path) -> None:
    """Write Tables 1 to 5 as Markdown, CSV and LaTeX with the lineage of every cell.

    \b
    Example:
      pirt-report tables --benchmark occluded-dukemtmc --metrics runs/evaluate --out runs/report
    """
    write_tables(build_report(benchmark, read_results(metrics), stand_in=stand_in), out)


@main.command(cls=Command)
@click.argument("report", type=EXISTING)
def show(report: Path) -> None:
    """Print the tables of the report folder REPORT and where everything lies.

    \b
    Example:
      pirt-report show runs/report
    """
    click.echo(print_report(report), nl=False)
