"""How every program ends: a mendable error is one line on stderr and exit code 2, a bug keeps its traceback."""

from typing import Any

import click

from pirt.errors import PirtError


class Mendable(click.ClickException):
    """What click shows for a `PirtError`."""

    exit_code = 2


class Command(click.Command):
    """A click command that reports `PirtError` as a message instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn a mendable error into click's message with exit code 2."""
        try:
            return super().invoke(ctx)
        except PirtError as error:
            raise Mendable(str(error)) from error


class Group(click.Group):
    """A click group whose commands are `Command`s."""

    command_class = Command
