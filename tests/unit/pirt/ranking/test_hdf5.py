import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from pirt.ranking.hdf5 import written_hdf5

_WRITE = """
import resource, sys
from pathlib import Path
import numpy as np
from pirt.ranking.hdf5 import written_hdf5

room = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
blocks = 0
try:
    with written_hdf5(Path(sys.argv[1])) as (file, disk):
        values = file.create_dataset("values", (256, 1 << 15), np.float32, chunks=(1, 1 << 15), fletcher32=True)
        for row in values:
            values[blocks] = 1
            disk.check()
            blocks += 1
        file.attrs["late"] = "x" * 5_000
except OSError as error:
    sys.exit(f"{error.strerror} after {blocks}")
"""


def test_the_file_is_plain_hdf5(tmp_path: Path) -> None:
    with written_hdf5(tmp_path / "a.h5") as (file, _):
        file.create_dataset("values", data=np.arange(5_000), fletcher32=True)
        assert not (tmp_path / "a.h5").exists()
    with h5py.File(tmp_path / "a.h5") as file:
        assert np.array_equal(file["values"][:], np.arange(5_000))
    assert list(tmp_path.iterdir()) == [tmp_path / "a.h5"]


@pytest.mark.parametrize(
    ("room", "blocks"), [(50, range(128)), (5_000, range(128)), (8 << 20, range(64, 192)), ((32 << 20) + 9_000, [256])]
)
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path, room: int, blocks: range | list[int]) -> None:
    # The whole life of a process: what HDF5 cannot close ends it at exit.
    script = [sys.executable, "-c", _WRITE, str(tmp_path / "a.h5"), str(room)]
    result = subprocess.run(script, capture_output=True, text=True)
    assert result.returncode == 1
    said, after, count = result.stderr.strip().rpartition(" after ")
    assert (said, after) == ("File too large", " after ")
    assert int(count) in blocks
    assert not list(tmp_path.iterdir())
