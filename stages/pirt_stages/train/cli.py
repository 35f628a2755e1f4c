"""`pirt-train`: parse, read the parameters, train."""

from functools import partial
from pathlib import Path

import click

from pirt.core.manifest import read_manifest
from pirt.ranking.params import load_evaluate_params
from pirt.runs.cache import store_for
from pirt.runs.params import load_params
from pirt.training.processes import Device
from pirt.training.recipe import Job, train
from pirt_stages.command import Command, filled
from pirt_stages.options import (
    DEVICE,
    FOLDER,
    RESTART,
    ROOT,
    SEED,
    WORKERS,
    Number,
    heatmaps_option,
    manifest_option,
    out_option,
    params_option,
)
from pirt_stages.train.console import Console
from pirt_stages.train.evaluation import GalleryEvaluator
from pirt_stages.train.starting_params import INIT_PARAMS


@click.command(cls=Command)
@INIT_PARAMS
@params_option("its sections `seed`, `model`, `variants` and `train` say what to train", required=True)
@click.option("--variant", help="Entry of the file's `variants`, laid over its `model`; its `train` over `train`.")
@click.option("--seed", type=SEED, help="Instead of the file's seed.")
@manifest_option(required=True)
@heatmaps_option()
@out_option("Run folder to write; {variant} and {seed} are filled in.")
@ROOT
@click.option("--init-from", type=FOLDER, help="Run folder to fine-tune; its classifiers are left behind.")
@RESTART
@DEVICE
@WORKERS
@click.option(
    "--image-memory",
    type=Number(min=0),
    default=4.0,
    envvar="PIRT_IMAGE_MEMORY",
    show_envvar=True,
    help="GiB; training images that fit into it are decoded once.",
)
def main(
    params_file: Path,
    variant: str | None,
    seed: int | None,
    manifest_file: Path,
    heatmaps: Path | None,
    out: Path,
    root: Path | None,
    init_from: Path | None,
    restart: bool,
    device: Device,
    workers: int | None,
    image_memory: float,
) -> None:
    """Train a model and write RUN/model.safetensors, RUN/run.json and the curves in RUN/logs.

    With train.evaluate_every: N the model is measured every N epochs, and the one with the best mAP is kept in a
    separate run folder, RUN/best.

    Until the training has ended, its state is saved to RUN.resume/ every five minutes and on a signal. After a crash,
    a kill or Ctrl-C the same command goes on from there to the same result; so does an interrupted `dvc repro`, which
    empties RUN but not RUN.resume. A finished RUN is left alone, and a RUN of another training is an error; --restart
    trains from the start.

    \b
    Examples:
      pirt-train --init-params own.yaml
      pirt-train --params params.yaml --variant pirt --manifest runs/manifest.csv \\
        --heatmaps runs/heatmaps.zarr --out runs/train/pirt-seed0
      torchrun --nproc-per-node 4 -m pirt_stages.train --params params.yaml --variant pirt \\
        --manifest runs/manifest.csv --heatmaps runs/heatmaps.zarr --out runs/train/pirt-seed0

    The first one writes parameters to start from, the last one trains on four GPUs of this machine.
    """
    params = load_params(params_file, variant)
    out = filled(out, variant, params.seed if seed is None else seed) or out
    if seed is not None:
        params = params.model_copy(update={"seed": seed})
    measured = load_evaluate_params(params_file) if params.train.evaluate_every else None
    manifest = read_manifest(manifest_file, root)
    store = None if heatmaps is None else store_for(heatmaps, manifest)
    job = Job(
        params=params,
        variant=variant,
        manifest=manifest,
        heatmaps=store,
        out=out,
        init_from=init_from,
        restart=restart,
        evaluate=None if measured is None else measured.model_dump(mode="json"),
        device=device,
        workers=workers,
        image_memory=image_memory,
    )
    make = None if measured is None else partial(GalleryEvaluator, manifest, store, params, measured)
    train(job, Console(), make)
