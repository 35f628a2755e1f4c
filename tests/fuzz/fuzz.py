"""Run mutated files through the parsers: `python fuzz.py FOLDER SEED COUNT [TARGET…]`; prints what went wrong.

A process on its own, so that a crash, a hang and a limit of memory concern nothing else.
"""

import contextlib
import io
import json
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "helpers")]
import click  # noqa: E402
from mutations import mutated  # noqa: E402
from targets import LEAVES, Target, sealed_again, targets  # noqa: E402

from pirt.core.errors import PirtError  # noqa: E402

SECONDS = 5
"""Of the processor, which other programs on the machine do not change; of waiting twelve times as many."""
MEMORY = 1 << 30


class HangError(BaseException):
    """An input took longer than it may."""


def _stop(*_: object) -> None:
    raise HangError


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Allow the block `SECONDS`."""
    timers = {signal.ITIMER_PROF: (signal.SIGPROF, SECONDS), signal.ITIMER_REAL: (signal.SIGALRM, 12 * SECONDS)}
    for timer, (number, seconds) in timers.items():
        signal.signal(number, _stop)
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for timer in timers:
            signal.setitimer(timer, 0)


def fuzz(target: Target, folder: Path, chance: random.Random) -> str | None:
    """Try one input; return what went wrong."""
    content = mutated(chance, chance.choice(target.contents))
    path = folder / target.place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sealed_again(content) if target.seal else content)
    return _tried(lambda: target.read(path))


def _tried(act: object) -> str | None:
    try:
        with limited(), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            act()  # type: ignore[operator]
    # What the limit refuses the programs say in one line, as `test_command.py` holds.
    except (PirtError, click.ClickException, click.exceptions.Exit, MemoryError):
        return None
    except HangError:
        return f"more than {SECONDS} s:\n{traceback.format_exc()[-1500:]}"
    except BaseException:
        return traceback.format_exc()[-1500:]
    return None


# None holds a zero byte, which no system passes to a program.
_VALUES = (
    "",
    "-1",
    "0",
    "1",
    "nan",
    "inf",
    "1e400",
    str(2**63),
    "9" * 5000,
    "x",
    "é" * 300,
    "--",
    "-x",
    "{variant}",
    "/",
    ".",
    "../x",
)


def fuzz_options(chance: random.Random) -> str | None:
    """Give a command options with values of any kind; nothing is run."""
    words, command = chance.choice(LEAVES)
    options = [name for parameter in command.params for name in parameter.opts if name.startswith("-")]
    arguments = [word for _ in range(chance.randint(0, 6)) for word in (chance.choice(options), chance.choice(_VALUES))]
    with contextlib.redirect_stdout(io.StringIO()):
        return _tried(lambda: command.make_context(words[-1], arguments))


def main() -> None:
    """Try `count` inputs, as evenly over the targets as can be."""
    folder, seed, count, *wanted = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]
    folder.mkdir(parents=True, exist_ok=True)
    known = {name: target for name, target in targets(folder) if not wanted or name in wanted}
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    tried, failures, started = 0, [], time.monotonic()
    while tried < count:
        for name, target in known.items():
            chance = random.Random(f"{seed} {tried}")
            (folder / "now").write_text(f"{name}, seed {seed} {tried}")
            if (wrong := fuzz(target, folder, chance)) is not None:
                failures.append(f"{name}, seed {seed} {tried}: {wrong}")
                print(failures[-1], file=sys.stderr, flush=True)
            # A store's other files are whole again.
            if name.startswith("store "):
                (folder / target.place).write_bytes(target.contents[0])
            if not wanted and (wrong := fuzz_options(chance)) is not None:
                failures.append(f"options, seed {seed} {tried}: {wrong}")
            tried += 1 if wanted else 2
            if tried >= count:
                break
    print(json.dumps({"tried": tried, "seconds": time.monotonic() - started, "failures": failures}))


if __name__ == "__main__":
    main()
