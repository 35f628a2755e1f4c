"""The options that programs share: each has one name, one default and one help text.

Two words for two things, the same in all programs: --restart discards what the command itself left, --force replaces
what something else made.
"""

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from pirt.core.params import LARGEST_BATCH, Frozen, checked

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
Section = TypeVar("Section", bound=Frozen)


class Place(click.Path):
    """A path that may begin with ~, which shells do not expand in `--out=~/run` or in quotes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; an empty one, as from a variable that is not set, does not mean the working folder."""
        if not value:
            self.fail("it is empty; name a place, or . for the working folder", param, ctx)
        # Path.expanduser fails where there is no such home.
        return super().convert(os.path.expanduser(value), param, ctx)  # noqa: PTH111


# Whether a file exists is asked where it is read, which knows what it should be and how to make one.
FILE = Place(dir_okay=False, path_type=Path)
FOLDER = Place(file_okay=False, path_type=Path)
FILE_OR_FOLDER = Place(path_type=Path)


class Number(click.FloatRange):
    """A finite number in a range; click lets NaN pass, which is neither below nor above any bound."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


def count(least: int = 1) -> click.IntRange:
    """Return the type of an option that counts things, from `least` to what 32 bits hold."""
    return click.IntRange(least, 2**31 - 1)


SEED = click.IntRange(0, 2**63 - 1)
"""The type of an option that is a seed: what PyTorch and NumPy both take."""

ROOT: Decorator = click.option(
    "--root", type=FOLDER, help="Folder that the manifest's paths start from.  [default: the one that it records]"
)
RESTART: Decorator = click.option(
    "--restart", is_flag=True, help="Discard what this command left at --out, and start again."
)
FORCE: Decorator = click.option("--force", is_flag=True, help="Replace --out even if something else made it.")

# Facts of the machine: the environment can say them once for all programs and keeps them out of pipelines.
DEVICE: Decorator = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    envvar="PIRT_DEVICE",
    show_envvar=True,
    help="auto uses a GPU if there is one.",
)
WORKERS: Decorator = click.option(
    "--workers",
    type=click.IntRange(0, 512),
    envvar="PIRT_WORKERS",
    show_envvar=True,
    help="Processes or threads that prepare images; 0 for none besides the main one.  [default: what suits the work]",
)
BATCH_SIZE: Decorator = click.option(
    "--batch-size",
    type=click.IntRange(1, LARGEST_BATCH),
    help="Images that a network takes at a time.  [default: 64; for a pose network on a CPU 16]",
)


def manifest_option(
    help: str = "Manifest of the images, as `pirt-data import` writes it.", *, required: bool
) -> Decorator:
    """Return the option --manifest; another `help` is for commands that need it for one purpose only."""
    return click.option("--manifest", "manifest_file", type=FILE, required=required, help=help)


def heatmaps_option(*, required: bool = False) -> Decorator:
    """Return the option --heatmaps."""
    unless = "." if required else "; models without parts need none."
    return click.option(
        "--heatmaps",
        type=FOLDER,
        required=required,
        help=f"Heatmap store of `pirt-pose extract` with the manifest's images{unless}",
    )


def params_option(sections: str, *, required: bool = False) -> Decorator:
    """Return the option --params of a program that reads the `sections` of a parameter file."""
    return click.option(
        "--params", "params_file", type=FILE, required=required, help=f"Parameter file (YAML); {sections}."
    )


def out_option(what: str, kind: click.Path = FOLDER) -> Decorator:
    """Return the option --out of a command that writes `what`."""
    return click.option("--out", type=kind, required=True, help=what)


def laid_over(section: Section, options: Mapping[str, object]) -> Section:
    """Return a parameter file's `section` with its values replaced by the options that were given (not None)."""
    given = {name: value for name, value in options.items() if value is not None}
    return checked(type(section), section.model_dump() | given, "options")
