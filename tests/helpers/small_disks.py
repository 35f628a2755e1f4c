"""A disk that takes only little, for programs that this process runs."""

import resource
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


def assert_refused_in_one_line(ended: Result) -> None:
    """Hold that a program ended with the system's refusal, its fix and no traceback."""
    assert ended.exit_code == 2, (ended.output, ended.exception)
    line = ended.stderr.splitlines()[-1]
    assert line.startswith("Error: "), ended.stderr
    assert "File too large" in line, line
    assert "Traceback" not in ended.stderr
