"""`pirt-report`: tables, figures and the page from what evaluation leaves."""

from pathlib import Path

import click

from pirt.core.manifest import read_manifest
from pirt.visual.rows import Selection
from pirt_stages.command import Command, Group
from pirt_stages.report.params import ReportParams, load_report_params
from pirt_stages.report.results import read_results
from pirt_stages.report.tables import build_report
from pirt_stages.report.writing import FIGURES, join_reports, print_report, write_page, write_tables

EXISTING = click.Path(path_type=Path)
_PARAMS = click.option("--params", type=EXISTING, help="YAML; only runs of its seeds and variants count.")


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """Tables, figures and one page of results, with the lineage of every number.

    \b
    Example:
      pirt-report tables --benchmark market-1501 --metrics runs/evaluate --out runs/report
      pirt-report show runs/report
    """


@main.command(cls=Command)
@click.option(
    "--benchmark",
    help="Name for the titles; the paper's benchmarks are recognised.  [default: the file's]",
)
@click.option(
    "--metrics",
    "metrics",
    type=EXISTING,
    multiple=True,
    required=True,
    help="A metrics.json, or a folder searched for them; may be repeated.",
)
@_PARAMS
@click.option(
    "--stand-in",
    is_flag=True,
    help="The images stand in for the benchmark's, as known of `pirt-data standin`: no published numbers.",
)
@click.option("--out", type=EXISTING, required=True, help="Report folder; the tables go into its folder tables.")
def tables(benchmark: str | None, metrics: tuple[Path, ...], params: Path | None, stand_in: bool, out: Path) -> None:
    """Write Tables 1 to 5 as Markdown, CSV and LaTeX with the lineage of every cell.

    \b
    Example:
      pirt-report tables --benchmark occluded-dukemtmc --metrics runs/evaluate --out runs/report
    """
    told = ReportParams() if params is None else load_report_params(params)
    if (benchmark := benchmark or told.benchmark) is None:
        raise click.UsageError("pass --benchmark, or --params with a section report that has one")
    results = read_results(metrics, _selection(params))
    write_tables(build_report(benchmark, results, stand_in=stand_in or told.stand_in), out)


@main.command(cls=Command)
@click.option("--runs", type=EXISTING, required=True, help="Folder searched for run folders of `pirt-train`.")
@click.option("--evaluations", type=EXISTING, help="Folder searched for embeddings.h5 of `pirt-eval`, for rank lists.")
@click.option("--manifest", type=EXISTING, required=True, help="Manifest of the runs.")
@click.option("--heatmaps", type=EXISTING, required=True, help="Heatmap store of the runs.")
@_PARAMS
@click.option("--root", type=EXISTING, help="Data root, where it is not the manifest's.")
@click.option("--out", type=EXISTING, required=True, help="Report folder; the pictures go into its folder figures.")
def figures(
    runs: Path,
    evaluations: Path | None,
    manifest: Path,
    heatmaps: Path,
    params: Path | None,
    root: Path | None,
    out: Path,
) -> None:
    """Draw training curves, heatmaps and activations over images, and rank lists.

    \b
    Example:
      pirt-report figures --runs runs/train --evaluations runs/evaluate --manifest runs/manifest.csv \\
        --heatmaps runs/heatmaps.zarr --out runs/report
    """
    # Tables are printed without waiting for torch and matplotlib to load.
    from pirt.visual.figures import find_sources, write_figures

    images = read_manifest(manifest, root)
    write_figures(out / FIGURES, find_sources(runs, evaluations, images, heatmaps, _selection(params)))


@main.command(cls=Command)
@click.argument("reports", type=EXISTING, nargs=-1, required=True)
@click.option("--out", type=EXISTING, required=True, help="Report folder of all of them.")
def join(reports: tuple[Path, ...], out: Path) -> None:
    """Join the report folders REPORTS of several benchmarks; Table 2 stands side by side as in the paper.

    \b
    Example:
      pirt-report join runs/market1501/report runs/dukemtmc_reid/report --out runs/paper/report
    """
    join_reports(reports, out)


@main.command(cls=Command)
@click.argument("report", type=EXISTING)
def html(report: Path) -> None:
    """Write the report folder REPORT as one self-contained page, report.html in it.

    \b
    Example:
      pirt-report html runs/report
    """
    write_page(report)


@main.command(cls=Command)
@click.argument("report", type=EXISTING)
def show(report: Path) -> None:
    """Print the tables of the report folder REPORT and where everything lies.

    \b
    Example:
      pirt-report show runs/report
    """
    click.echo(print_report(report), nl=False)


def _selection(params: Path | None) -> Selection | None:
    return None if params is None else Selection.read(params)
