"""`pirt-data`: data sets in, manifests out."""

from pathlib import Path

import click

from stages.command import Group
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
