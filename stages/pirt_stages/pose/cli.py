"""`pirt-pose`: parse, read parameters, call one function."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pirt.core.params import LONGEST_SIDE
from pirt.machine import cores
from pirt_stages.command import Group, printable
from pirt_stages.options import (
    BATCH_SIZE,
    DEVICE,
    FILE,
    FOLDER,
    RESTART,
    ROOT,
    WORKERS,
    Number,
    laid_over,
    manifest_option,
    out_option,
    params_option,
)
from pirt_stages.pose.store_commands import STORE_COMMANDS

if TYPE_CHECKING:
    from pirt_stages.pose.extraction.inference import Device

_CONFIG = click.option("--config", help="MMPose config, by name or file.  [default: HRNet-W48 256x192]")
_CHECKPOINT = click.option(
    "--checkpoint", help="Its weights, a file or URL.  [default: those that MMPose publishes for it]"
)
_INPUT_SIZE = click.option(
    "--input-size",
    type=click.IntRange(1, LONGEST_SIDE),
    nargs=2,
    metavar="H W",
    help="Height and width of its input.  [default: its own with topdown or if trained on whole images, else 384 128]",
)
_GEOMETRY = click.option(
    "--geometry",
    type=click.Choice(["resize", "topdown"]),
    help="resize stretches the whole image; topdown takes MMPose's padded box and maps it back.  [default: resize]",
)

# The commands import their modules themselves, because MMPose takes seconds and --help should not.


def _device(chosen: str, scheduler: str | None = None) -> "Device":
    """Return the device itself: a store records it, since it decides the last bits of heatmaps."""
    import torch

    if chosen == "auto" and scheduler is not None:
        raise click.UsageError("with --scheduler, say what the workers run on: --device cpu or --device cuda")
    if chosen == "cuda" or (chosen == "auto" and torch.cuda.is_available()):
        return "cuda"
    return "cpu"


def _threads(workers: int | None) -> int:
    """Return how many threads decode images: one for each core, and at least one."""
    return max(1, cores() if workers is None else workers)


@click.group(cls=Group)
def main() -> None:
    """Stage 1: run a pose network once over every image; see `pirt-pose COMMAND --help`."""


@main.command("train")
@manifest_option(required=True)
@click.option("--keypoints", type=FILE, required=True, help="COCO keypoints JSON; file_name as in the manifest.")
@out_option("Folder for config.py, checkpoint.pth, metrics.json and scores.json.")
@params_option("its section `pose.train` says how to train")
@ROOT
@DEVICE
def train_command(
    manifest_file: Path, keypoints: Path, out: Path, params_file: Path | None, root: Path | None, device: str
) -> None:
    """Train a small HRNet on labelled keypoints of the manifest's train split.

    Identities held out of training measure it, by PCK@0.2 of the torso length on visible keypoints. With
    pose.train.init_from the training starts from the weights of another one, for example on other people.

    \b
    Example:
      pirt-pose train --params params.yaml --manifest runs/manifest.csv --keypoints runs/data/keypoints.json \\
        --out runs/pose
    """
    from pirt.core.manifest import read_manifest
    from pirt_stages.pose.training.params import load_train_params
    from pirt_stages.pose.training.train import train

    manifest, params = read_manifest(manifest_file, root), load_train_params(params_file)
    metrics = train(manifest, keypoints, params, out, _device(device))
    click.echo(
        f"{out}: PCK@0.2 {_share(metrics.pck)} on held-out visible keypoints, "
        f"{_share(metrics.pck_unoccluded)} on unoccluded images"
    )


@main.command("identify")
@params_option("its section `pose.extract` names the network", required=True)
@out_option("JSON file to write.", FILE)
def identify_command(params_file: Path, out: Path) -> None:
    """Write a fingerprint of the network that extracts: its config's SHA-256, and its weights' SHA-256 or URL.

    A pipeline runs this before `extract`, so that a config or weights replaced in place are noticed. Nothing is
    fetched.

    \b
    Example:
      pirt-pose identify --params params.yaml --out runs/network.json
    """
    from pirt_stages.pose.extraction.identify import identify
    from pirt_stages.pose.extraction.params import load_extract_params

    identify(load_extract_params(params_file), out)
    click.echo(f"wrote {out}")


def _share(value: float | None) -> str:
    return "not measurable" if value is None else f"{value:.3f}"


@main.command("adapt")
@manifest_option(required=True)
@params_option("its section `pose.extract` names the network; options override it")
@_CONFIG
@_CHECKPOINT
@out_option("The adapted checkpoint, e.g. adapted.pth.", FILE)
@_INPUT_SIZE
@_GEOMETRY
@BATCH_SIZE
@click.option("--skip-bad", is_flag=True, help="Leave unreadable images out instead of stopping.")
@WORKERS
@ROOT
@DEVICE
def adapt_command(
    manifest_file: Path,
    root: Path | None,
    out: Path,
    params_file: Path | None,
    config: str | None,
    checkpoint: str | None,
    input_size: tuple[int, int] | None,
    geometry: str | None,
    batch_size: int | None,
    skip_bad: bool,
    workers: int | None,
    device: str,
) -> None:
    """Fit a network's batch norms to the manifest's training images; weights stay, and no labels are needed.

    Extraction takes the checkpoint with the same config. Use the same input size and geometry in both.

    \b
    Example:
      pirt-pose adapt --manifest runs/manifest.csv --config runs/pose/config.py \\
        --checkpoint runs/pose/checkpoint.pth --out runs/adapted.pth
    """
    from pirt.core.files import sha256_of
    from pirt.core.manifest import read_manifest
    from pirt_stages.pose.adaptation.adapt import AdaptOptions, adapt
    from pirt_stages.pose.extraction.params import ExtractParams, load_extract_params
    from pirt_stages.pose.stores.info import skipped_listing

    params = laid_over(
        ExtractParams() if params_file is None else load_extract_params(params_file),
        {
            "config": config,
            "checkpoint": checkpoint,
            "input_size": input_size,
            "geometry": geometry,
            "batch_size": batch_size,
        },
    )
    options = AdaptOptions(skip_bad, _threads(workers), _device(device))
    done = adapt(read_manifest(manifest_file, root), out, params, options)
    for line in skipped_listing(done.skipped):
        click.echo(printable(line), err=True)
    click.echo(
        f"{out}: {done.norms} batch norms over {done.images} images, {len(done.skipped)} skipped, "
        f"SHA-256 {sha256_of(out)}"
    )


@main.command("extract")
@manifest_option(required=True)
@params_option("its section `pose.extract` says how to extract; options override it")
@_CONFIG
@_CHECKPOINT
@out_option("The store, e.g. heatmaps.zarr.")
@_INPUT_SIZE
@_GEOMETRY
@click.option("--codec", type=click.Choice(["tau8", "float16", "float32"]), help="[default: tau8]")
@click.option("--tau", type=Number(0, 1), help="Threshold of the part masks.  [default: 0.001]")
@click.option("--precision", type=click.Choice(["float32", "bfloat16", "float16"]), help="[default: float32]")
@BATCH_SIZE
@click.option("--flip-test", is_flag=True, default=None, help="Average with the mirrored image's heatmaps.")
@click.option("--skip-bad", is_flag=True, help="Record unreadable images as skipped instead of stopping.")
@RESTART
@click.option(
    "--reuse",
    type=FOLDER,
    metavar="STORE",
    help="Take the rows of equal images from this store, made by the same network and settings.  [default: the one "
    "that is replaced]",
)
@click.option("--scheduler", metavar="ADDRESS", help="Run on this dask cluster, e.g. tcp://host:8786.")
@WORKERS
@ROOT
@DEVICE
def extract_command(
    manifest_file: Path,
    root: Path | None,
    out: Path,
    params_file: Path | None,
    config: str | None,
    checkpoint: str | None,
    input_size: tuple[int, int] | None,
    geometry: str | None,
    codec: str | None,
    tau: float | None,
    precision: str | None,
    batch_size: int | None,
    flip_test: bool | None,
    skip_bad: bool,
    restart: bool,
    reuse: Path | None,
    scheduler: str | None,
    workers: int | None,
    device: str,
) -> None:
    """Write the heatmaps of every image of a manifest into one sharded store; go on where an earlier run stopped.

    With more images or fewer, --restart replaces the store and computes only what it lacks; to compute everything
    again, delete it first.

    \b
    Examples:
      pirt-pose extract --params params.yaml --manifest runs/manifest.csv --out runs/heatmaps.zarr
      pirt-pose extract --params params.yaml --manifest runs/manifest.csv --reuse runs/heatmaps.zarr \\
        --out runs/more.zarr
      pirt-pose extract --manifest runs/manifest.csv --config runs/pose/config.py \\
        --checkpoint runs/pose/checkpoint.pth --input-size 128 64 --codec float16 --out runs/float16.zarr

    A config is a Python program: use only those that you trust. Checkpoints are read without running their code.
    """
    from pirt.core.manifest import read_manifest
    from pirt_stages.pose.extraction.extract import ExtractOptions, extract
    from pirt_stages.pose.extraction.params import ExtractParams, load_extract_params
    from pirt_stages.pose.stores.info import skipped_listing

    runner = None
    if scheduler is not None:
        from pirt_stages.pose.cluster import on_cluster

        runner = on_cluster(scheduler)
    params = laid_over(
        ExtractParams() if params_file is None else load_extract_params(params_file),
        {
            "config": config,
            "checkpoint": checkpoint,
            "input_size": input_size,
            "geometry": geometry,
            "codec": codec,
            "tau": tau,
            "precision": precision,
            "batch_size": batch_size,
            "flip_test": flip_test,
        },
    )
    options = ExtractOptions(skip_bad, restart, _threads(workers), _device(device, scheduler), reuse)
    work = extract(read_manifest(manifest_file, root), out, params, options, runner)
    attributes = work.writer.layout.attributes
    height, width = attributes.heatmap_size
    for line in skipped_listing(attributes.skipped):
        click.echo(printable(line), err=True)
    click.echo(f"{out}: heatmaps {height}x{width} of {len(work.paths)} images, {len(attributes.skipped)} skipped")


for command in STORE_COMMANDS:
    main.add_command(command)
