"""Programs in a process of their own that has loaded everything already, to be limited or interrupted there."""

import os
import resource
import shlex
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable

from program_table import PROGRAMS


def forked(line: str, prepare: Callable[[], object]) -> tuple[int, str]:
    """Run a command line in a fork after `prepare`; return its exit code, −n after signal n, and what it said."""
    program, *words = shlex.split(line)
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            os._exit(_run(program, words, said.fileno(), prepare))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        return code, said.read().decode()


def _run(program: str, words: list[str], said: int, prepare: Callable[[], object]) -> int:
    for stream in (1, 2):
        os.dup2(said, stream)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    # Not pytest's, whose files are closed.
    sys.stdout, sys.stderr = (open(stream, "w", buffering=1, closefd=False) for stream in (1, 2))  # noqa: SIM115
    try:
        prepare()
        PROGRAMS[program].main(words, prog_name=program)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    return 1


def few_files(count: int) -> None:
    """Let this process open files up to number `count`, as `ulimit -n` does."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def ctrl_c_after(seconds: float) -> None:
    """Send this process SIGINT once it has used so many seconds of the processor, if it then runs a command."""
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGPROF, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_PROF, seconds)
