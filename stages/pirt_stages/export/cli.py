"""`pirt-export`: parse, export."""

from pathlib import Path

import click

from pirt_stages.command import Command
from pirt_stages.export.export import CHECKED_BATCHES, export
from pirt_stages.options import FILE, FOLDER, out_option


@click.command(cls=Command)
@click.option("--run", type=FOLDER, required=True, help="Run folder that `pirt-train` wrote.")
@out_option("ONNX file to write.", FILE)
def main(run: Path, out: Path) -> None:
    """Export a run's embedding network as ONNX: image and heatmaps in, features and confidences out.

    The batch size is free. The file is compared with PyTorch by onnxruntime before it is kept.

    \b
    Example:
      pirt-export --run runs/train/pirt-seed0 --out runs/pirt.onnx
    """
    differences = export(run, out)
    click.echo(f"wrote {out}; largest difference to PyTorch at batch {' and '.join(map(str, CHECKED_BATCHES))}:")
    for name, difference in differences.items():
        click.echo(f"  {name:12}{difference:.1e}")
