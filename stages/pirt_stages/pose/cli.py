"""`pirt-pose`: parse, read parameters, call one function."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pirt_stages.command import Group
from pirt_stages.pose.store_commands import STORE_COMMANDS

if TYPE_CHECKING:
    from pirt_stages.pose.extraction.inference import Device

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_MANIFEST = click.option("--manifest", "manifest_path", type=_FILE, required=True, help="CSV of `pirt-data import`.")
_ROOT = click.option("--root", type=_FOLDER, help="Data root, if it is not the one that the manifest records.")


def _device_of(context: click.Context, parameter: click.Parameter, value: str) -> str:
    import torch

    if value == "auto" and context.params.get("scheduler") is not None:
        raise click.UsageError("with --scheduler, say what the workers run on: --device cpu or --device cuda")
    return value if value != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


_DEVICE = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    callback=_device_of,
    envvar="PIRT_DEVICE",
    show_envvar=True,
    help="auto: a GPU if there is one.",
)

# The commands import their modules themselves, because MMPose takes seconds and --help should not.


@click.group(cls=Group)
def main() -> None:
    """Stage 1: run a pose network once over every image; see `pirt-pose COMMAND --help`."""


@main.command("train")
@_MANIFEST
@click.option("--keypoints", type=_FILE, required=True, help="COCO keypoints JSON; file_name as in the manifest.")
@click.option("--out", type=_FOLDER, required=True, help="Folder for config.py, checkpoint.pth, metrics.json.")
@click.option("--params", type=_FILE, help="YAML with a section pose.train; without it, the defaults.")
@_ROOT
@_DEVICE
def train_command(
    manifest_path: Path, keypoints: Path, out: Path, params: Path | None, root: Path | None, device: str
) -> None:
    """Train a small HRNet on labelled keypoints of the manifest's train split.

    Identities held out of training measure it: PCK@0.2 of the torso length, on visible keypoints.

    \b
    Example:
      pirt-pose train --manifest manifest.csv --keypoints keypoints.json --params params.yaml --out runs/pose
    """
    from pirt.core.manifest import read_manifest
    from pirt_stages.pose.training.params import load_train_params
    from pirt_stages.pose.training.train import train

    metrics = train(read_manifest(manifest_path, root), keypoints, load_train_params(params), out, device)
    click.echo(
        f"{out}: PCK@0.2 {metrics['pck']:.3f} on held-out visible keypoints, "
        f"{metrics['pck_unoccluded']:.3f} on unoccluded images"
    )


@main.command("identify")
@click.option("--params", "params_file", type=_FILE, required=True, help="YAML with a section pose.extract.")
@click.option("--out", type=_FILE, required=True, help="JSON file to write.")
def identify_command(params_file: Path, out: Path) -> None:
    """Write what tells the network of an extraction apart: its config's SHA-256, and its weights' SHA-256 or URL.

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


@main.command("extract")
@_MANIFEST
@click.option("--params", "params_file", type=_FILE, help="YAML with a section pose.extract; options go before it.")
@click.option("--config", help="MMPose config, by name or file.  [default: HRNet-W48 256x192]")
@click.option("--checkpoint", help="Its weights, a file or URL.  [default: those that MMPose publishes for it]")
@click.option("--out", type=_FOLDER, required=True, help="The store, e.g. heatmaps.zarr.")
@click.option(
    "--input-size",
    type=click.IntRange(min=1),
    nargs=2,
    metavar="H W",
    help="Of the network.  [default: 384 128 with resize, the network's own with topdown]",
)
@click.option(
    "--geometry",
    type=click.Choice(["resize", "topdown"]),
    help="Stretch the whole image, or MMPose's padded box mapped back to the image.  [default: resize]",
)
@click.option("--codec", type=click.Choice(["tau8", "float16", "float32"]), help="[default: tau8]")
@click.option("--tau", type=float, help="Threshold of the part masks.  [default: 0.001]")
@click.option("--precision", type=click.Choice(["float32", "bfloat16", "float16"]), help="[default: float32]")
@click.option("--batch-size", type=click.IntRange(min=1), help="[default: 16 on a CPU, 64 on a GPU]")
@click.option("--flip-test", is_flag=True, default=None, help="Average with the mirrored image's heatmaps.")
@click.option("--skip-bad", is_flag=True, help="Record unreadable images as skipped instead of stopping.")
@click.option("--restart", is_flag=True, help="Throw away what an earlier run left at --out.")
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    is_eager=True,  # read before --device, which asks for it
    help="Run on this dask cluster, e.g. tcp://host:8786.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    callback=lambda _, __, value: value or 1,  # 0 asks for no more than one elsewhere
    default=os.cpu_count() or 1,
    envvar="PIRT_WORKERS",
    show_envvar=True,
    help="Threads that decode images.  [default: one a core]",
)
@_ROOT
@_DEVICE
def extract_command(
    manifest_path: Path,
    root: Path | None,
    out: Path,
    params_file: Path | None,
    skip_bad: bool,
    restart: bool,
    scheduler: str | None,
    workers: int,
    device: "Device",
    **chosen: Any,
) -> None:
    """Write the heatmaps of every image of a manifest into one sharded store; go on where an earlier run stopped.

    \b
    Example:
      pirt-pose extract --manifest manifest.csv --out heatmaps.zarr
      pirt-pose extract --manifest manifest.csv --config td-hm_hrnet-w32_8xb64-210e_coco-256x192 \\
        --checkpoint hrnet-w32.pth --precision bfloat16 --device cuda --out heatmaps.zarr

    A config is a Python program: use only those that you trust. Checkpoints are read without running their code.
    """
    from pirt.core.manifest import read_manifest
    from pirt.core.params import checked
    from pirt_stages.pose.extraction.extract import ExtractOptions, extract
    from pirt_stages.pose.extraction.params import ExtractParams, load_extract_params
    from pirt_stages.pose.stores.info import skipped_listing

    runner = None
    if scheduler is not None:
        from pirt_stages.pose.cluster import on_cluster

        runner = on_cluster(scheduler)
    params = ExtractParams() if params_file is None else load_extract_params(params_file)
    given = {name: value for name, value in chosen.items() if value is not None}
    params = checked(ExtractParams, params.model_dump() | given, "pose.extract")
    options = ExtractOptions(skip_bad, restart, workers, device)
    work = extract(read_manifest(manifest_path, root), out, params, options, runner)
    attributes = work.writer.layout.attributes
    height, width = attributes.heatmap_size
    for line in skipped_listing(attributes.skipped):
        click.echo(line, err=True)
    click.echo(f"{out}: heatmaps {height}x{width} of {len(work.paths)} images, {len(attributes.skipped)} skipped")


for command in STORE_COMMANDS:
    main.add_command(command)
