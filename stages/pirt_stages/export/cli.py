"""`pirt-export`: parse, export."""

from pathlib import Path

import click

from pirt_stages.command import Group
from pirt_stages.options import FILE, FOLDER, out_option

_RUN = click.option("--run", type=FOLDER, required=True, help="Run folder that `pirt-train` wrote.")

# The commands import their modules themselves, because PyTorch takes seconds and --help should not.


@click.group(cls=Group)
def main() -> None:
    """Export a trained model, or its backbone, for other programs; see `pirt-export COMMAND --help`."""


@main.command("onnx")
@_RUN
@out_option("ONNX file to write.", FILE)
def onnx_command(run: Path, out: Path) -> None:
    """Export a run's embedding network as ONNX: image and heatmaps in, features and confidences out.

    The file takes any batch size. Before it is kept, onnxruntime runs it and its outputs are compared with PyTorch's.

    \b
    Example:
      pirt-export onnx --run runs/train/pirt-seed0 --out runs/pirt.onnx
    """
    from pirt_stages.export.export import CHECKED_BATCHES, export

    differences = export(run, out)
    click.echo(f"wrote {out}; largest difference to PyTorch at batch {' and '.join(map(str, CHECKED_BATCHES))}:")
    for name, difference in differences.items():
        click.echo(f"  {name:12}{difference:.1e}")


@main.command("backbone")
@_RUN
@out_option("Weights to write, e.g. backbone.safetensors.", FILE)
def backbone_command(run: Path, out: Path) -> None:
    """Write a run's backbone weights alone, for `train.backbone_weights` of other trainings.

    Unlike `pirt-train --init-from`, which takes a whole model, they serve every variant.

    \b
    Example:
      pirt-export backbone --run runs/train/pirt-seed0 --out runs/backbone.safetensors
    """
    from pirt_stages.export.backbone import export_backbone

    count = export_backbone(run, out)
    click.echo(f"wrote {out}: {count:,} weights, {out.stat().st_size / 1e6:.2f} MB")
