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


_READ_AGAIN = """
import resource, sys
from pathlib import Path
from pirt.ranking.hdf5 import written_hdf5

room = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
try:
    with written_hdf5(Path(sys.argv[1])) as (file, disk):
        cache = file.id.get_mdc_config()
        cache.set_initial_size, cache.initial_size, cache.max_size, cache.min_size = True, 1024, 1024, 1024
        file.id.set_mdc_config(cache)
        for number in range(200):
            file.create_group(f"a{number}").attrs["number"] = number
        for number in range(200):
            assert file[f"a{number}"].attrs["number"] == number
        print("whole")
except OSError as error:
    sys.exit(error.strerror)
"""


@pytest.mark.parametrize("room", [50, 70_000])
def test_on_a_full_disk_hdf5_reads_what_it_wrote(tmp_path: Path, room: int) -> None:
    # It ends the process where a B-tree, which its cache had no place for, comes back as something else.
    script = [sys.executable, "-c", _READ_AGAIN, str(tmp_path / "a.h5"), str(room)]
    result = subprocess.run(script, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (1, "whole\n", "File too large\n")
    assert not list(tmp_path.iterdir())
