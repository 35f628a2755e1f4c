"""`pirt-eval`: parse, read the parameters, embed and measure."""

from pathlib import Path
from typing import Any

import click

from pirt.core.errors import ParamsError
from pirt.core.manifest import read_manifest
from pirt.ranking.embed import Source, choose_device, choose_speed
from pirt.ranking.params import EvaluateParams, RerankParams, load_evaluate_params
from pirt.ranking.recipe import embed_run, evaluate_embeddings, evaluate_run
from pirt_stages.command import Command, filled
from pirt_stages.evaluate.summary import embeddings_summary, metrics_summary

_PATH = click.Path(path_type=Path)


@click.command(cls=Command)
@click.option("--run", type=_PATH, help="Run folder that `pirt-train` wrote; {variant} and {seed} are filled in.")
@click.option("--manifest", "manifest_file", type=_PATH, help="Manifest of the images (CSV).")
@click.option("--heatmaps", type=_PATH, help="Heatmap store made for the manifest; the baseline needs none.")
@click.option("--out", type=_PATH, required=True, help="Folder for embeddings.h5, metrics.json, scores.json.")
@click.option("--variant", help="What {variant} stands for in --run and --out.")
@click.option("--seed", type=int, help="What {seed} stands for in --run and --out.")
@click.option("--root", type=_PATH, help="Data root, instead of the manifest's.")
@click.option("--from-embeddings", type=_PATH, help="Measure this embeddings.h5 again; no network is run.")
@click.option(
    "--embed-only", is_flag=True, help="Write embeddings.h5 alone, of unlabelled images too, for pirt-search."
)
@click.option("--params", "params_file", type=_PATH, help="Parameter file (YAML) with a section `evaluate`.")
@click.option("--matching", type=click.Choice(["coarse-to-fine", "full"]), help="Instead of the file's.")
@click.option("--top-n", type=click.IntRange(min=1), help="N of coarse-to-fine matching, instead of the file's.")
@click.option("--max-rank", type=click.IntRange(min=1), help="Length of the CMC curve, instead of the file's.")
@click.option("--average-precision", type=click.Choice(["step", "trapezoid"]), help="Instead of the file's.")
@click.option(
    "--unmatched", type=click.Choice(["skip", "zero"]), help="Queries without a match, instead of the file's."
)
@click.option("--junk", type=click.Choice(["drop", "keep"]), help="Gallery pid -1, instead of the file's.")
@click.option("--rerank", is_flag=True, help="Re-rank by k-reciprocal encoding (k1 20, k2 6, or the file's).")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    envvar="PIRT_DEVICE",
    show_default=True,
    show_envvar=True,
)
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True, help="Images at a time.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    envvar="PIRT_WORKERS",
    show_envvar=True,
    help="Processes that load images; by default none beside a CPU's network, one a core beside a GPU.",
)
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
    rerank: bool,
    device: str,
    batch_size: int,
    workers: int | None,
    **chosen: Any,
) -> None:
    """Embed queries and gallery with a trained run, match them and measure CMC, mAP and mINP.

    Models with parts are measured in all four confidence modes in one go. Numbers are fractions from 0 to 1.
    With --from-embeddings, --run and --manifest are only compared with what the file was made from.

    \b
    Examples:
      pirt-eval --run runs/train/pirt-seed0 --manifest runs/manifest.csv \\
        --heatmaps runs/heatmaps.zarr --out runs/eval/pirt-seed0
      pirt-eval --from-embeddings runs/eval/pirt-seed0/embeddings.h5 --matching full --out runs/eval/full
    """
    run, out = filled(run, variant, seed), filled(out, variant, seed) or out
    base = EvaluateParams() if params_file is None else load_evaluate_params(params_file)
    params = base.model_copy(update={name: value for name, value in chosen.items() if value is not None})
    if rerank and params.rerank is None:
        params = params.model_copy(update={"rerank": RerankParams()})
    manifest = None if manifest_file is None else read_manifest(manifest_file, root)
    if from_embeddings is not None:
        if embed_only or heatmaps is not None:
            raise ParamsError("--embed-only and --heatmaps have no place beside --from-embeddings: nothing is embedded")
        metrics = evaluate_embeddings(from_embeddings, run, manifest, params, out, choose_device(device))
        click.echo(metrics_summary(metrics, out))
        return
    if run is None or manifest is None:
        raise ParamsError("pass --run and --manifest, or --from-embeddings")
    source, speed = Source(run, manifest, heatmaps), choose_speed(device, batch_size, workers)
    if embed_only:
        click.echo(embeddings_summary(embed_run(source, out, speed)))
    else:
        click.echo(metrics_summary(evaluate_run(source, params, out, speed), out))
