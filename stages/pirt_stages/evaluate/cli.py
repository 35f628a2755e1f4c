"""`pirt-eval`: parse, read the parameters, embed and measure."""

from pathlib import Path
from typing import get_args

import click

from pirt.core.errors import ParamsError
from pirt.core.manifest import read_manifest
from pirt.ranking.embed import Source, choose_device, choose_speed
from pirt.ranking.evaluation import MatchingMode
from pirt.ranking.matching import Coarse, GroupDistance
from pirt.ranking.metrics import AveragePrecision, Junk, Unmatched
from pirt.ranking.params import EvaluateParams, RerankParams, load_evaluate_params
from pirt.ranking.recipe import embed_run, evaluate_embeddings, evaluate_run
from pirt.runs.cache import store_for
from pirt_stages.command import Command, filled
from pirt_stages.evaluate.summary import embeddings_summary, metrics_summary
from pirt_stages.options import (
    BATCH_SIZE,
    DEVICE,
    FILE,
    FOLDER,
    ROOT,
    SEED,
    WORKERS,
    count,
    heatmaps_option,
    laid_over,
    manifest_option,
    out_option,
    params_option,
)


@click.command(cls=Command)
@click.option("--run", type=FOLDER, help="Run folder that `pirt-train` wrote; {variant} and {seed} are filled in.")
@manifest_option(required=False)
@heatmaps_option()
@out_option("Folder for embeddings.h5, metrics.json and scores.json; {variant} and {seed} are filled in.")
@click.option("--variant", help="What {variant} stands for in --run, --out and --from-embeddings.")
@click.option("--seed", type=SEED, help="What {seed} stands for in --run, --out and --from-embeddings.")
@ROOT
@click.option(
    "--from-embeddings",
    type=FILE,
    help="Measure this embeddings.h5 without running a network; {variant} and {seed} are filled in.",
)
@click.option(
    "--embed-only",
    is_flag=True,
    help="Only write embeddings.h5, also for unlabelled images, as pirt-search takes it; metrics.json and scores.json "
    "of earlier embeddings in --out are removed.",
)
@params_option("its section `evaluate` says how to match and measure")
@click.option("--matching", type=click.Choice(["coarse-to-fine", "full"]), help="How to match, instead of the file's.")
@click.option("--top-n", type=count(), help="N of coarse-to-fine matching, instead of the file's.")
@click.option("--coarse", type=click.Choice(get_args(Coarse)), help="What picks the N nearest, instead of the file's.")
@click.option(
    "--group-distance",
    type=click.Choice(get_args(GroupDistance)),
    help="Distance between two parts, instead of the file's.",
)
@click.option("--max-rank", type=count(), help="Length of the CMC curve, instead of the file's.")
@click.option(
    "--average-precision",
    type=click.Choice(["step", "trapezoid"]),
    help="How precision is averaged, instead of the file's.",
)
@click.option(
    "--unmatched",
    type=click.Choice(["skip", "zero"]),
    help="What becomes of queries without a match, instead of the file's.",
)
@click.option(
    "--junk",
    type=click.Choice(["drop", "keep"]),
    help="What becomes of gallery images of pid -1, instead of the file's.",
)
@click.option("--rerank", is_flag=True, help="Re-rank by k-reciprocal encoding (k1 20, k2 6, or the file's).")
@DEVICE
@BATCH_SIZE
@WORKERS
def main(
    run: Path | None,
    manifest_file: Path | None,
    heatmaps: Path | None,
    out: Path,
    variant: str | None,
    seed: int | None,
    root: Path | None,
    from_embeddings: Path | None,
    embed_only: bool,
    params_file: Path | None,
    matching: MatchingMode | None,
    top_n: int | None,
    coarse: Coarse | None,
    group_distance: GroupDistance | None,
    max_rank: int | None,
    average_precision: AveragePrecision | None,
    unmatched: Unmatched | None,
    junk: Junk | None,
    rerank: bool,
    device: str,
    batch_size: int | None,
    workers: int | None,
) -> None:
    """Embed queries and gallery with a trained run, match them and measure CMC, mAP and mINP.

    Models with parts are measured in all confidence modes in one go. Numbers are fractions from 0 to 1.
    With --from-embeddings, --run and --manifest are only compared with what the file was made from.

    \b
    Examples:
      pirt-eval --run runs/train/pirt-seed0 --manifest runs/manifest.csv --heatmaps runs/heatmaps.zarr --out runs/pirt
      pirt-eval --run runs/train/pirt-seed0 --manifest runs/manifest.csv --heatmaps runs/heatmaps.zarr \\
        --embed-only --out runs/embeddings/pirt-seed0
      pirt-eval --from-embeddings runs/embeddings/pirt-seed0/embeddings.h5 --top-n 50 --out runs/evaluate/pirt-seed0

    The first one does everything in one go; the others do it in two, as the pipelines do.
    """
    run, from_embeddings = filled(run, variant, seed), filled(from_embeddings, variant, seed)
    out = filled(out, variant, seed) or out
    base = EvaluateParams() if params_file is None else load_evaluate_params(params_file)
    options = {
        "matching": matching,
        "top_n": top_n,
        "coarse": coarse,
        "group_distance": group_distance,
        "max_rank": max_rank,
        "average_precision": average_precision,
        "unmatched": unmatched,
        "junk": junk,
        # The flag has no numbers of its own, so the file's stay where it has some.
        "rerank": RerankParams() if rerank and base.rerank is None else None,
    }
    params = laid_over(base, options)
    if embed_only and (told := next((name for name, value in options.items() if value is not None), None)):
        raise ParamsError(f"--embed-only measures nothing; leave out --{told.replace('_', '-')}")
    manifest = None if manifest_file is None else read_manifest(manifest_file, root)
    if from_embeddings is not None:
        if embed_only or heatmaps is not None:
            raise ParamsError("--from-embeddings embeds nothing; leave out --embed-only and --heatmaps")
        metrics = evaluate_embeddings(from_embeddings, run, manifest, params, out, choose_device(device))
        click.echo(metrics_summary(metrics, out))
        return
    if run is None or manifest is None:
        raise ParamsError("pass --run and --manifest, or --from-embeddings")
    store = None if heatmaps is None else store_for(heatmaps, manifest)
    source, speed = Source(run, manifest, store), choose_speed(device, batch_size, workers)
    if embed_only:
        click.echo(embeddings_summary(embed_run(source, out, speed)))
    else:
        click.echo(metrics_summary(evaluate_run(source, params, out, speed), out))
