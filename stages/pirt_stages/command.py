"""What all commands have in common: -h and --version, and how they end.

An error that the user can fix is one line on stderr and exit code 2; a bug keeps its traceback.
"""

import codecs
import errno
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from pirt.core.errors import ParamsError, PirtError
from pirt.core.files import refuse_stream_as_output
from pirt.machine import is_first_process
from pirt_stages.locking import held
from pirt_stages.signals import ending_on_signals

_FIXES = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENFILE: "allow more open files",
    errno.EACCES: "choose another place, or get permission",
    errno.EPERM: "choose another place, or get permission",
    errno.EROFS: "choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "check that path",
    errno.EEXIST: "choose another name, or remove what is there",
    errno.ENOTDIR: "choose another name, or remove what is there",
    errno.EISDIR: "choose another name, or remove what is there",
}


# Not the end of a line: some messages list what they found, a line each.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MOST_SHOWN = 1000
"""Characters kept of a message's beginning, and of its end, which says how to fix it."""
_FILES_OR_URLS = ("config", "checkpoint")
"""Options that are paths without being of click's type for them."""
_WHOLE_FOLDERS = ("run", "store_path", "heatmaps")
"""Options whose folder is read whole, so that no file in it may be written either."""
_STORES = ("store_path", "heatmaps")
"""Options whose folder is a store, where nothing else belongs."""
_OUTPUTS = ("out", "contact_sheet", "copy_to")
"""Options that say where to write."""


def printable(text: str) -> str:
    """Return text in which names from files do not steer the terminal."""
    return _CONTROL.sub("?", text)


class UserError(click.ClickException):
    """What click shows for a `PirtError`, and for what the operating system refused."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        """Keep names from files from filling or steering the terminal."""
        shown = printable(message)
        left_out = len(shown) - 2 * _MOST_SHOWN
        super().__init__(shown if left_out <= 0 else f"{shown[:_MOST_SHOWN]} … {shown[-_MOST_SHOWN:]}")


def _print_version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    # click also parses a line to complete it in a shell, when nothing is to be printed.
    if asked and not context.resilient_parsing:
        click.echo(f"{context.find_root().info_name} {version('pirt')}")
        context.exit()


_VERSION = click.Option(
    ["--version"],
    is_flag=True,
    expose_value=False,
    is_eager=True,  # before a missing option is complained about
    callback=_print_version,
    help="Show the version and exit.",
)


_PLAIN = {"✓": "+", "✗": "x", "τ": "tau", "–": "-", "−": "-", "…": "...", "×": "x", "±": "+-", "Δ": "d", "─": "-"}


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    """Write in ASCII what a terminal's encoding lacks; a letter without a likeness becomes a question mark."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter, "?") for letter in lacking), error.end


codecs.register_error("pirt-plain", _in_plain_letters)


def _print_on_any_terminal() -> None:
    """Let no output fail because of a letter: terminals have encodings from ASCII to GBK."""
    for stream in (sys.stdout, sys.stderr):
        # Not by its class: DVCLive has colorama wrap what is no terminal. Tests have streams of their own.
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="pirt-plain")


class Told(click.Command):
    """A command that knows -h and --version, shows its defaults and prints on any terminal."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.context_settings = {"help_option_names": ["-h", "--help"], "show_default": True, **self.context_settings}
        self.params.append(_VERSION)

    def main(self, *args: Any, **settings: Any) -> Any:
        """Run the program."""
        _print_on_any_terminal()
        # Fonts lack letters too; a picture shows a box there, which is not worth a warning.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from ")
        return super().main(*args, **settings)


class Command(Told):
    """A command that reports `PirtError` and refusals of the system as a message instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn an error that the user can fix into click's message with exit code 2."""
        try:
            # In this order: the lock is let go before a signal's line is printed, and its own refusal is reported.
            with reported(), ending_on_signals(), _output_of(ctx):
                return super().invoke(ctx)
        except KeyboardInterrupt:  # between the command and this line; click would exit with 1
            print("Aborted!", file=sys.stderr)
            raise SystemExit(128 + signal.SIGINT) from None


@contextmanager
def reported() -> Iterator[None]:
    """Turn an error that the user can fix into click's message with exit code 2."""
    try:
        yield
    except PirtError as error:
        # Of a file that PyTorch could not open the library knows no more than that it was not read.
        if error.__cause__ is not None and (refused := _refused_to_torch(error.__cause__)):
            raise UserError(_refusal(refused)) from error
        raise UserError(str(error)) from error
    except (MemoryError, RuntimeError, ImportError) as error:
        # A library that the system has no room to map is an ImportError.
        if how := _died_loading(error):
            raise UserError(
                f"a process that loads images died ({how}), usually for lack of memory; run the same command "
                "again with fewer --workers (0 for none)"
            ) from error
        if refused := _refused_to_torch(error):
            raise UserError(_refusal(refused)) from error
        if "can't start new thread" in str(error):
            raise UserError(
                "the system refuses another thread; allow more (ulimit -u) or more memory (ulimit -v), or take fewer "
                "--workers"
            ) from error
        if of_a_gpu := next((told for said, told in _OF_A_GPU.items() if said in str(error)), None):
            raise UserError(of_a_gpu) from error
        if not _lacks_memory(error):
            raise
        raise UserError("there is not enough memory for this; take smaller batches or sizes") from error
    except OSError as error:
        # Libraries raise OSError without a number for many other things; click ends a program whose pipe was closed.
        if not error.errno or not error.strerror or error.errno == errno.EPIPE:
            raise
        raise UserError(_refusal(error)) from error


def _died_loading(error: BaseException) -> str | None:
    """Say how a loader process died, if that is what an error of PyTorch is about.

    The error comes from a handler of SIGCHLD, so it may interrupt anything.
    """
    found = re.search(r"DataLoader worker \(pid.*?\) (is killed by signal: [\w ]+|exited unexpectedly)", str(error))
    return found[1] if found else None


def _refused_to_torch(error: BaseException) -> OSError | None:
    """Return what the system refused, if PyTorch's message about a file ends with the system's error number."""
    found = re.fullmatch(r"unable to .* (?:file|shared memory)(?: <(.+)>)?.*: (.+) \((\d+)\)", str(error))
    # PyTorch does not always name a file of its shared memory, which lies there.
    return OSError(int(found[3]), found[2], found[1] or "/dev/shm") if found else None


_OF_A_GPU = {
    "no kernel image is available": "the installed PyTorch is not built for this GPU; pass --device cpu, or install a "
    "build that is",
    "busy or unavailable": "another process has this GPU to itself; wait for its end, or name another GPU in "
    "CUDA_VISIBLE_DEVICES",
}
"""What CUDA says of a GPU that cannot be used, and what that means."""
_NO_MEMORY = (
    *("can't allocate memory", "could not create a primitive", "failed to map segment from shared object"),
    *("out of memory", "_STATUS_ALLOC_FAILED", "_DEVICE_ALLOCATION_FAILED"),
)
"""How PyTorch, oneDNN and the loader of libraries say so, and CUDA, NCCL, cuBLAS and cuDNN of a GPU's."""


def _lacks_memory(error: MemoryError | RuntimeError | ImportError) -> bool:
    """Tell whether memory is what an error is about; PyTorch, not imported here, has an error of its own too."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(said in str(error) for said in _NO_MEMORY)
    )


def _output_of(ctx: click.Context) -> AbstractContextManager[None]:
    """Lock the command's --out, if it has one; of several processes under torchrun only the first does."""
    places = {name: place for name in _OUTPUTS if (place := _place(ctx, name))}
    for name, place in places.items():
        refuse_stream_as_output(place)
        _require_apart(ctx, f"--{name.replace('_', '-')}", place)
    out = places.get("out")
    return nullcontext() if out is None or out.name in ("", "..") or not is_first_process() else held(out)


def _place(ctx: click.Context, name: str) -> Path | None:
    """Return what an option for an output names, with variant and seed filled in."""
    place, seed = ctx.params.get(name), ctx.params.get("seed")
    # The seed may stand in the parameter file, which is not read yet; then all seeds of a variant share one lock.
    return place if not isinstance(place, Path) or seed is None else filled(place, ctx.params.get("variant"), seed)


def _require_apart(ctx: click.Context, option: str, out: Path) -> None:
    """Raise where `out` is something that the command reads, such as a table to import or a run's weights to export."""
    for param in ctx.command.params:
        value = ctx.params.get(param.name or "")
        # A store may replace the one whose rows it reuses.
        if param.name in (*_OUTPUTS, "reuse") or not (
            isinstance(param.type, click.Path) or param.name in _FILES_OR_URLS
        ):
            continue
        for given in value if isinstance(value, tuple) else (value,):
            if given is None or not Path(given).exists():
                continue
            # Compared as files and not as texts, since links and `..` give a file many names.
            of_it = param.name in _WHOLE_FOLDERS and Path(given).resolve() in out.resolve().parents
            name = param.opts[0] if isinstance(param, click.Option) else param.human_readable_name
            if (of_it and out.is_file()) or (out.exists() and out.samefile(given)):
                raise ParamsError(
                    f"{option} {out} is {'a part of' if of_it else 'also'} {name} {given} and would be replaced; name "
                    f"another {option}"
                )
            if of_it and param.name in _STORES:
                raise ParamsError(f"{option} {out} lies in {name} {given}, a store; name another {option}")


def _refusal(error: OSError) -> str:
    """Name the file, where the system does, the reason and the fix."""
    # A rename that is refused has two names, of which the second is the output's.
    file = error.filename2 or error.filename
    fix = _FIXES.get(error.errno or 0, "fix that")
    reason = " ".join(str(error.strerror).split())
    return f"{'' if file is None else f'{file}: '}{reason}; {fix} and run the same command again"


def filled(path: Path | None, variant: str | None, seed: int | None) -> Path | None:
    """Put a run's variant and seed in the place of "{variant}" and "{seed}" in `path`.

    Pipelines name their runs in this way: values of parameters then reach a shell's command line only as options that
    DVC quotes.
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


class Group(Told, click.Group):
    """A group whose commands are `Command`s."""

    command_class = Command
