"""`pirt-pose`: parse, read parameters, call one function."""

from pathlib import Path

import click

from stages.command import Group

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group(cls=Group)
def main() -> None:
    """Stage 1: run a pose network once over every image; see `pirt-pose COMMAND --help`."""


@main.command("train")
@click.option("--manifest", "manifest_path", type=_FILE, required=True, help="CSV of `pirt-data import`.")
@click.option("--keypoints", type=_FILE, required=True, help="COCO keypoints JSON; file_name as in the manifest.")
@click.option("--out", type=_FOLDER, required=True, help="Folder for config.py, checkpoint.pth, metrics.json.")
@click.option("--params", type=_FILE, help="YAML with a section pose.train; without it, the defaults.")
@click.option("--root", type=_FOLDER, help="Data root, if it is not the one that the manifest records.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
def train_command(
    manifest_path: Path, keypoints: Path, out: Path, params: Path | None, root: Path | None, device: str
) -> None:
    """Train a small HRNet on labelled keypoints of the manifest's train split.

    Identities held out of training measure it: PCK@0.2 of the torso length, on visible keypoints.

    \b
    Example:
      pirt-pose train --manifest manifest.csv --keypoints keypoints.json --params params.yaml --out runs/pose
    """
    # Imported here because MMPose takes seconds, and --help should not.
    from pirt.data.manifest import read_manifest
    from stages.pose.params import load_train_params
    from stages.pose.train import train

    metrics = train(read_manifest(manifest_path, root), keypoints, load_train_params(params), out, device)
    click.echo(
        f"{out}: PCK@0.2 {metrics['pck']:.3f} on held-out visible keypoints, "
        f"{metrics['pck_unoccluded']:.3f} on unoccluded images"
    )
