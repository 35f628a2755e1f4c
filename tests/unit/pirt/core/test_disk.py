"""A signal comes between two writes of a library and never inside one; it is never lost."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pirt.core.disk import written_through


@pytest.mark.parametrize("check", [True, False])
def test_a_signal_waits_for_the_check_or_the_end(tmp_path: Path, check: bool) -> None:
    before, done = signal.getsignal(signal.SIGINT), []

    def write() -> None:
        with written_through(tmp_path / "out") as disk:
            signal.raise_signal(signal.SIGINT)
            done.append(disk.write(b"whole"))
            if check:
                disk.check()
            done.append(0)

    with pytest.raises(KeyboardInterrupt):
        write()
    assert done == ([5] if check else [5, 0])
    assert signal.getsignal(signal.SIGINT) is before
    assert not list(tmp_path.iterdir())


def test_a_handler_that_only_notes_is_told_every_time(tmp_path: Path) -> None:
    noted: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: noted.append(number))
    try:
        with written_through(tmp_path / "out") as disk:
            for _ in range(2):
                signal.raise_signal(signal.SIGTERM)
                assert not noted
                disk.check()
                assert noted.pop() == signal.SIGTERM
            signal.raise_signal(signal.SIGTERM)
        assert noted == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (tmp_path / "out").exists()


_INTERRUPTED = """
import os, random, resource, signal, sys
from pathlib import Path
import numpy as np
from pirt.ranking.hdf5 import written_hdf5

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

def write():
    try:
        with written_hdf5(Path(sys.argv[1])) as (file, disk):
            values = file.create_dataset("values", (100, 4096), np.float32, chunks=(1, 4096), fletcher32=True)
            for number in range(100):
                values[number] = number
                disk.check()
    except KeyboardInterrupt:
        return 130
    return 0

def forked(moment):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    # A signal may also come before or after the writing, in any line of this function.
    sys.excepthook = lambda *_: os._exit(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, moment)
    os._exit(write())

chance = random.Random(0)
print(sorted({forked(chance.uniform(0.0005, 0.02)) for _ in range(100)} - {0, 1}))
"""


@pytest.mark.slow
def test_ctrl_c_does_not_kill_hdf5(tmp_path: Path) -> None:
    script = [sys.executable, "-c", _INTERRUPTED, str(tmp_path / "a.h5")]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.stdout == "[130]\n", done.stderr
