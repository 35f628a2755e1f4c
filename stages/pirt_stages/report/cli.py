"""`pirt-report`: tables, figures and the page from what evaluation leaves."""

from pathlib import Path

import click

from pirt.core.errors import ParamsError
from pirt.core.manifest import read_manifest
from pirt.visual.rows import Selection
from pirt_stages.command import Group, printable
from pirt_stages.options import (
    DEVICE,
    FILE,
    FILE_OR_FOLDER,
    FOLDER,
    ROOT,
    heatmaps_option,
    manifest_option,
    out_option,
    params_option,
)
from pirt_stages.report.params import ReportParams, load_report_params
from pirt_stages.report.results import read_results
from pirt_stages.report.tables import build_report
from pirt_stages.report.writing import FIGURES, join_reports, print_report, write_page, write_tables

_PARAMS = params_option("only runs of its `seeds` and `variants` count")
_VARIANT = click.option(
    "--variant", "variants", multiple=True, help="Only this variant of those in --params; may be repeated."
)


@click.group(cls=Group)
def main() -> None:
    """Tables, figures and one page of results, with the lineage of every number."""


@main.command()
@click.option(
    "--benchmark",
    help="Name for the titles; the paper's benchmarks are recognised.  [default: the file's]",
)
@click.option(
    "--metrics",
    type=FILE_OR_FOLDER,
    multiple=True,
    required=True,
    help="A metrics.json, or a folder searched for them; may be repeated.",
)
@_PARAMS
@_VARIANT
@click.option(
    "--stand-in",
    is_flag=True,
    help="The images only stand in for the benchmark's: no published numbers. Those of `pirt-data standin` are known.",
)
@out_option("Report folder; the tables go into its folder tables.")
def tables(
    benchmark: str | None,
    metrics: tuple[Path, ...],
    params_file: Path | None,
    variants: tuple[str, ...],
    stand_in: bool,
    out: Path,
) -> None:
    """Write Tables 1 to 5 as Markdown, CSV and LaTeX with the lineage of every cell.

    Runs on several backbones make one table of them instead, Table 6, with a row for each backbone and model.

    \b
    Example:
      pirt-report tables --benchmark "rendered pedestrians" --metrics runs/evaluate --out runs/report
    """
    told = ReportParams() if params_file is None else load_report_params(params_file)
    if (benchmark := benchmark or told.benchmark) is None:
        raise click.UsageError("pass --benchmark, or --params with a section report that has one")
    results = read_results(metrics, _selected(params_file, variants))
    write_tables(build_report(benchmark, results, stand_in=stand_in or told.stand_in), out)


@main.command()
@click.option("--runs", type=FOLDER, required=True, help="Folder searched for run folders of `pirt-train`.")
@click.option(
    "--evaluations",
    type=FOLDER,
    multiple=True,
    help="Folder searched for metrics.json and embeddings.h5 of `pirt-eval`, for rank lists; may be repeated.",
)
@manifest_option(required=True)
@heatmaps_option(required=True)
@_PARAMS
@ROOT
@out_option("Report folder; the pictures go into its folder figures.")
def figures(
    runs: Path,
    evaluations: tuple[Path, ...],
    manifest_file: Path,
    heatmaps: Path,
    params_file: Path | None,
    root: Path | None,
    out: Path,
) -> None:
    """Draw training curves, heatmaps and activations over images, and rank lists; count the data for the page.

    \b
    Example:
      pirt-report figures --runs runs/train --evaluations runs/evaluate --evaluations runs/embeddings \\
        --manifest runs/manifest.csv --heatmaps runs/heatmaps.zarr --out runs/report
    """
    # Tables are printed without waiting for torch and matplotlib to load.
    from pirt.visual.figures import find_sources, write_figures

    images = read_manifest(manifest_file, root)
    write_figures(out / FIGURES, find_sources(runs, evaluations, images, heatmaps, _selection(params_file)))


@main.command()
@click.argument("reports", type=FOLDER, nargs=-1, required=True)
@out_option("Report folder of all of them.")
def join(reports: tuple[Path, ...], out: Path) -> None:
    """Join the report folders REPORTS of several benchmarks, those of Table 2 side by side as in the paper.

    \b
    Example:
      pirt-report join market1501/report dukemtmc_reid/report --out paper/report
    """
    join_reports(reports, out)


@main.command()
@click.argument("report", type=FOLDER)
def html(report: Path) -> None:
    """Write the report folder REPORT as one self-contained page, report.html in it.

    \b
    Example:
      pirt-report html runs/report
    """
    write_page(report)


@main.command()
@click.argument("evaluations", type=FOLDER, nargs=-1, required=True)
@manifest_option(required=True)
@heatmaps_option(required=True)
@params_option("only runs of its `seeds`, and of the variants in `report.compare`")
@click.option("--keypoints", type=FILE, help="keypoints.json of rendered pedestrians, which says what is covered.")
@ROOT
@out_option("Folder to write; open its index.html in a browser.")
@DEVICE
def explore(
    evaluations: tuple[Path, ...],
    manifest_file: Path,
    heatmaps: Path,
    params_file: Path | None,
    keypoints: Path | None,
    root: Path | None,
    out: Path,
    device: str,
) -> None:
    """Write a folder that shows in a browser which queries fail in EVALUATIONS, and why.

    EVALUATIONS are searched for metrics.json of the same images, and for the embeddings.h5 that each was computed from;
    several are shown side by side. The folder needs neither a server nor a network; its queries.csv has one row per
    query.

    \b
    Example:
      pirt-report explore runs/evaluate runs/embeddings --manifest runs/manifest.csv \\
        --heatmaps runs/heatmaps.zarr --out runs/explore
    """
    from pirt.ranking.embed import choose_device
    from pirt_stages.explore import recipe, sources

    told = ReportParams() if params_file is None else load_report_params(params_file)
    selection = _selection(params_file)
    found = sources.find_evaluations(evaluations, told.compare, None if selection is None else selection.seeds)
    images = read_manifest(manifest_file, root)
    recipe.explore(found, evaluations, images, heatmaps, keypoints, out, choose_device(device))
    click.echo(f"wrote {out}: open {out / 'index.html'} in a browser")


@main.command()
@click.argument("evaluations", type=FOLDER, nargs=-1, required=True)
@manifest_option(required=True)
@click.option("--keypoints", type=FILE, required=True, help="keypoints.json of rendered pedestrians.")
@_PARAMS
@_VARIANT
@ROOT
@out_option("Folder to write: tables as Markdown and CSV, and a plot.")
@DEVICE
def where(
    evaluations: tuple[Path, ...],
    manifest_file: Path,
    keypoints: Path,
    params_file: Path | None,
    variants: tuple[str, ...],
    root: Path | None,
    out: Path,
    device: str,
) -> None:
    """Show where models gain and lose on rendered pedestrians, whose covered parts are known.

    EVALUATIONS are searched for metrics.json, and for the embeddings.h5 that each was computed from. The tables give
    mAP by how much of a person is covered, by what, and which part; and with each query replaced by a whole picture of
    the same person and camera. Seeds are averaged. For models with parts they also give the rank correlation of each
    part's confidence with its visible share. Works only on images of `pirt-data synthesize`.

    \b
    Example:
      pirt-report where runs/evaluate runs/embeddings --manifest runs/manifest.csv \\
        --keypoints runs/data/keypoints.json --out runs/where
    """
    from pirt.ranking.embed import choose_device
    from pirt_stages.study.where import where as write
    from pirt_stages.study.where_tables import TABLES

    images = read_manifest(manifest_file, root)
    write(evaluations, _selected(params_file, variants), images, keypoints, out, choose_device(device))
    click.echo((out / TABLES).read_text(encoding="utf-8"), nl=False)


@main.command()
@click.argument("evaluations", type=FOLDER, nargs=-1, required=True)
@manifest_option("Manifest that the models were trained on.", required=True)
@_PARAMS
@_VARIANT
@out_option("Folder to write: a table as Markdown and CSV, and a plot.")
def curve(
    evaluations: tuple[Path, ...],
    manifest_file: Path,
    params_file: Path | None,
    variants: tuple[str, ...],
    out: Path,
) -> None:
    """Draw mAP over the length of the training, a line for each row of the tables.

    EVALUATIONS are searched for what pirt-eval wrote. Each length is a separate training; seeds are averaged.

    \b
    Example:
      pirt-report curve runs/evaluate --manifest runs/manifest.csv --out runs/curve
    """
    from pirt_stages.study.curve import TABLE
    from pirt_stages.study.curve import curve as write

    write(evaluations, _selected(params_file, variants), read_manifest(manifest_file), out)
    click.echo((out / TABLE).read_text(encoding="utf-8"), nl=False)


@main.command()
@params_option("its sections `model` and `evaluate` say which parts there are and how to measure", required=True)
@manifest_option(required=True)
@heatmaps_option(required=True)
@ROOT
@out_option("Folder to write: a table as Markdown and CSV.")
def reference(params_file: Path, manifest_file: Path, heatmaps: Path, root: Path | None, out: Path) -> None:
    """Rank by random features and by colours alone, whole and by part, to see how far these get on a benchmark.

    \b
    Example:
      pirt-report reference --params params.yaml --manifest runs/manifest.csv --heatmaps runs/heatmaps.zarr \\
        --out runs/reference
    """
    from pirt.ranking.params import load_evaluate_params
    from pirt.runs.cache import store_for
    from pirt.runs.params import load_params
    from pirt_stages.study.reference import TABLE
    from pirt_stages.study.reference import reference as write

    images = read_manifest(manifest_file, root)
    model, protocol = load_params(params_file).model, load_evaluate_params(params_file)
    write(images, store_for(heatmaps, images), model, protocol, out)
    click.echo((out / TABLE).read_text(encoding="utf-8"), nl=False)


@main.command()
@click.argument("report", type=FOLDER)
def show(report: Path) -> None:
    """Print the tables of the report folder REPORT, and where everything is.

    \b
    Example:
      pirt-report show runs/report
    """
    click.echo(printable(print_report(report)), nl=False)


def _selected(params: Path | None, variants: tuple[str, ...]) -> Selection | None:
    """Return the runs that a parameter file selects, and of its variants only those named, if any are."""
    selection = _selection(params)
    if not variants:
        return selection
    if selection is None:
        raise click.UsageError("--variant needs --params, the file that has it")
    if unknown := sorted(set(variants) - selection.variants):
        raise ParamsError(f"{params}: no variant {unknown[0]!r}; it has {sorted(map(str, selection.variants))}")
    return Selection(selection.seeds, frozenset(variants))


def _selection(params: Path | None) -> Selection | None:
    return None if params is None else Selection.read(params)
