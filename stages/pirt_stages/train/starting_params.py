"""Parameter files to start from, for people with data of their own."""

from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path

import click

from pirt.core.errors import ParamsError
from pirt.core.files import written_whole
from pirt_stages.command import reported
from pirt_stages.options import FILE

_PARAMETERS = files("pirt_stages.train") / "parameters"


def write_starting_params(path: Path) -> tuple[Path, Path]:
    """Write the paper's recipe to `path` and a small set to `STEM-small` beside it; nothing is replaced."""
    if path.suffix not in (".yaml", ".yml"):
        raise ParamsError(f"{path} cannot name a parameter file; pass a name such as params.yaml")
    places = (path, path.with_stem(f"{path.stem}-small"))
    if there := [place for place in places if place.exists()]:
        raise ParamsError(f"{there[0]} exists and would be replaced; name another file or move it away")
    with ExitStack() as aside:  # neither takes its place before both are written
        for place, name in zip(places, ("paper.yaml", "small.yaml"), strict=True):
            aside.enter_context(written_whole(place)).write_bytes((_PARAMETERS / name).read_bytes())
    return places


def _write_and_exit(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is None or context.resilient_parsing:
        return
    # This runs while options are parsed, outside of what reports a command's errors.
    with reported():
        paper, small = write_starting_params(path)
    click.echo(f"{paper}: the paper's recipe, for a GPU")
    click.echo(f"{small}: a small model and a short training")
    context.exit()


INIT_PARAMS = click.option(
    "--init-params",
    type=FILE,
    is_eager=True,  # before a missing option is complained about
    expose_value=False,
    callback=_write_and_exit,
    help="Write the paper's parameters to this file, a small set for own data beside it, and exit.",
)
