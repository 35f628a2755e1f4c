"""Changes to a sealed HDF5 file by somebody who seals it again."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py


@contextmanager
def changed(path: Path) -> Iterator[h5py.File]:
    """Yield the file at `path` to change; its seal is made anew."""
    path.write_bytes(path.read_bytes()[:-64])
    with h5py.File(path, "r+") as file:
        yield file
    reseal(path)


def reseal(path: Path) -> None:
    """End `path`, which has no seal, with one."""
    content = path.read_bytes()
    path.write_bytes(content + hashlib.sha256(content).hexdigest().encode())
