"""HDF5 files that appear whole or not at all, on a full disk too."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from pirt.core.disk import Disk, written_through


@contextmanager
def written_hdf5(path: Path) -> Iterator[tuple[h5py.File, Disk]]:
    """Yield an HDF5 file, with its disk, which becomes `path` as `written_whole` says."""
    with written_through(path) as disk, h5py.File(disk, "w") as file:
        yield file, disk
