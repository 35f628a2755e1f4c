"""A disk that takes only little, for programs that this process runs."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from click.testing import Result


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Refuse what this process writes to a file beyond `size` bytes, as `ulimit -f` does and a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def assert_refused_in_a_process(size: int, module: str, *arguments: object) -> None:
    """Hold the same of a program in a process of its own, for HDF5, which may end its process on such a disk."""
    ended = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    assert ended.returncode == 2, ended.stderr
    _assert_one_line(ended.stderr)


def assert_refused_in_one_line(ended: Result) -> None:
    """Hold that a program ended with the system's refusal, its fix and no traceback."""
    assert ended.exit_code == 2, (ended.output, ended.exception)
    _assert_one_line(ended.stderr)


def _assert_one_line(told: str) -> None:
    line = told.splitlines()[-1]
    assert line.startswith("Error: "), told
    assert "File too large" in line, line
    assert "Traceback" not in told
