"""How every program ends: a mendable error is one line on stderr and exit code 2, a bug keeps its traceback."""

import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import click

from pirt.core.errors import ParamsError, PirtError
from pirt_stages.locking import held

_MENDS = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENFILE: "allow more open files",
    errno.EACCES: "take another place, or get the right to it",
    errno.EPERM: "take another place, or get the right to it",
    errno.EROFS: "take another place",
    errno.ENAMETOOLONG: "take a shorter name",
    errno.ENOENT: "check that path",
    errno.EEXIST: "take another name, or remove what is there",
    errno.ENOTDIR: "take another name, or remove what is there",
    errno.EISDIR: "take another name, or remove what is there",
}


class Mendable(click.ClickException):
    """What click shows for a `PirtError`, and for what the operating system refused."""

    exit_code = 2


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the program as an exception does, so that half-written outputs are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Command(click.Command):
    """A click command that reports `PirtError` and refusals of the system as a message instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn a mendable error into click's message with exit code 2."""
        try:
            with _ending_on_sigterm(), _output_of(ctx):
                return super().invoke(ctx)
        except PirtError as error:
            raise Mendable(str(error)) from error
        except OSError as error:
            # Libraries raise OSError without a number for much else; a closed pipe is click's to end.
            if not error.errno or not error.strerror or error.errno == errno.EPIPE:
                raise
            raise Mendable(_refusal(error)) from error


def _output_of(ctx: click.Context) -> AbstractContextManager[None]:
    """Hold the command's --out, if it has one; of several processes under torchrun the first one does."""
    out = ctx.params.get("out")
    if not isinstance(out, Path) or out.name in ("", "..") or os.environ.get("RANK", "0") != "0":
        return nullcontext()
    variant, seed = ctx.params.get("variant"), ctx.params.get("seed")
    # The seed may come from the parameter file; until then all seeds of a variant are one output.
    return held(out if seed is None else filled(out, variant, seed) or out)


def _refusal(error: OSError) -> str:
    """Name the file, where the system does, the reason and the mend."""
    file = error.filename2 or error.filename
    mend = _MENDS.get(error.errno or 0, "mend that")
    reason = " ".join(str(error.strerror).split())
    return f"{'' if file is None else f'{file}: '}{reason}; {mend} and run the same command again"


def filled(path: Path | None, variant: str | None, seed: int | None) -> Path | None:
    """Put a run's variant and seed in the place of "{variant}" and "{seed}" in `path`.

    A pipeline names its runs so: what stands in its parameters then never stands in a shell's command line, but for
    the options that DVC quotes.
    """
    if path is None:
        return None
    text = str(path)
    for name, value in (("{variant}", variant), ("{seed}", seed)):
        if name in text:
            if value is None:
                raise ParamsError(f"{text} needs --{name[1:-1]}")
            if not re.fullmatch(r"[^/\\\0]+", str(value)) or str(value) in (".", ".."):
                raise ParamsError(f"{value!r} cannot be a part of a file name; rename the variant")
            text = text.replace(name, str(value))
    return Path(text)


class Group(click.Group):
    """A click group whose commands are `Command`s."""

    command_class = Command
