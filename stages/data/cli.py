"""`pirt-data`: data sets in, manifests out."""

from pathlib import Path

import click

from pirt.data.manifest import SPLITS
from stages.command import Group
from stages.data.importing import Imported, import_data_set
from stages.data.layouts import LAYOUTS
from stages.data.pedestrians.plan import PROFILES
from stages.data.synthesize import synthesize

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """Make, import and check person re-identification data sets."""


@main.command("synthesize")
@click.option("--profile", type=click.Choice(list(PROFILES)), default="demo", help="How many identities and images.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Another seed draws another world of people.")
@click.option("--out", type=_FOLDER, required=True, help="Folder to write, in the Market-1501 layout.")
@click.option("--contact-sheet", type=_FILE, help="Where to draw the contact sheet.  [default: OUT/contact_sheet.png]")
@click.option("--workers", type=click.IntRange(1), envvar="PIRT_WORKERS", help="Processes.  [default: all cores]")
@click.option("--force", is_flag=True, help="Replace OUT even if something else made it.")
def synthesize_command(
    profile: str, seed: int, out: Path, contact_sheet: Path | None, workers: int | None, force: bool
) -> None:
    """Render the embedded benchmark: pedestrians with occluders and true keypoints.

    \b
    Example:
      pirt-data synthesize --profile demo --seed 0 --out data/pedestrians
      pirt-data import data/pedestrians --out data/manifest.csv
    """
    count = synthesize(profile, seed, out, contact_sheet, workers, force)
    click.echo(f"{count} images, keypoints.json and a contact sheet in {out}")


@main.command("import")
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--out", type=_FILE, required=True, help="Manifest to write.")
@click.option(
    "--layout", type=click.Choice([layout.name for layout in LAYOUTS]), help="Admit this one only.  [default: look]"
)
def import_command(root: Path, out: Path, layout: str | None) -> None:
    """Write the manifest of the data set in ROOT; its images stay where they are.

    \b
    Example:
      pirt-data import ~/data/Market-1501-v15.09.15 --out data/market1501.csv
    """
    _tell(import_data_set(root, out, layout), out)


def _tell(imported: Imported, out: Path) -> None:
    manifest = imported.manifest
    counts = ", ".join(f"{split} {sum(row.split == split for row in manifest.rows):,}" for split in SPLITS)
    click.echo(f"{imported.title} in {manifest.root}: {counts}; manifest {out}")
    for name, count in imported.reading.passed_over.most_common(5):
        click.echo(f"passed over {count:,} × {name}")
    for remark in imported.reading.remarks:
        click.echo(remark)
