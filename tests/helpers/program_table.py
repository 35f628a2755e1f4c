"""Every program that pyproject.toml installs, its commands, and the examples in their help."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click

from pirt_stages.programs import MODULES

_PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
_EXAMPLE = re.compile(r"^ +((?:pirt-\w+|torchrun) (?:.*\\\n)*.*)$", re.MULTILINE)


def _loaded(name: str) -> click.Command:
    found: click.Command = import_module(MODULES[name.removeprefix("pirt-")]).main
    return found


PROGRAMS = {name: _loaded(name) for name in tomllib.loads(_PYPROJECT.read_text())["project"]["scripts"]}


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every group and command with the words that call it."""
    for name, program in PROGRAMS.items():
        yield (name,), program
        for below, command in getattr(program, "commands", {}).items():
            yield (name, below), command


def examples(command: click.Command) -> list[list[str]]:
    """Return the command lines in a command's help, cut into words."""
    text = (command.help or "").replace("\b", "")
    return [shlex.split(line.replace("\\\n", " ")) for line in _EXAMPLE.findall(text)]


def call_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """Return the program that the words of an example call, and its arguments."""
    if words[0] == "torchrun":
        words = [f"pirt-{words[words.index('-m') + 1].rpartition('.')[2]}", *words[words.index("-m") + 2 :]]
    return PROGRAMS[words[0]], words[1:]
