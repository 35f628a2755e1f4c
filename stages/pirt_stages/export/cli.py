"""`pirt-export`: parse, export."""

from pathlib import Path

import click

from pirt_stages.command import Command
from pirt_stages.export.export import CHECKED_BATCHES, export

_PATH = click.Path(path_type=Path)


@click.command(cls=Command)
@click.option("--run", type=_PATH, required=True, help="Run folder that `pirt-train` wrote.")
@click.option("--out", type=_PATH, required=True, help="ONNX file to write.")
def main(run: Path, out: Path) -> None:
    """Export a run's embedding network as ONNX: image and heatmaps in, features and confidences out.

    The batch size is free. The file is compared with PyTorch by onnxruntime before it is kept.

    \b
    Example:
      pirt-export --run runs/train/pirt-seed0 --out pirt.onnx
    """
    differences = export(run, out)
    click.echo(f"wrote {out}; largest difference to PyTorch at batch {' and '.join(map(str, CHECKED_BATCHES))}:")
    for name, difference in differences.items():
        click.echo(f"  {name:12}{difference:.1e}")


if __name__ == "__main__":
    main()
