"""HDF5 files that appear whole or not at all, on a full disk too."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from pirt.core.files import written_whole


class Disk(io.FileIO):
    """A file that takes all writes and keeps the system's first refusal for `check`.

    The HDF5 library cannot close a file that refuses its writes; it then ends the process with a segmentation fault.
    """

    refusal: OSError | None = None

    def write(self, data: "memoryview[int]") -> int:  # type: ignore[override]  # HDF5 hands over memory alone
        """Write all of `data`, or nothing from the first refusal on."""
        rest = memoryview(data)
        while rest and self.refusal is None:
            try:
                rest = rest[super().write(rest) :]
            except OSError as error:
                self.refusal = OSError(error.errno, error.strerror, self.name)
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Cut or extend the file."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.refusal = self.refusal or OSError(error.errno, error.strerror, self.name)
            return self.tell()

    def check(self) -> None:
        """Raise what the system refused; long writing asks now and then, so that it does not go on in vain."""
        if self.refusal is not None:
            raise self.refusal


@contextmanager
def written_hdf5(path: Path) -> Iterator[tuple[h5py.File, Disk]]:
    """Yield an HDF5 file beside `path`, with its disk, which becomes `path` as `written_whole` says."""
    with written_whole(path) as beside, Disk(beside, "w+") as disk:
        with h5py.File(disk, "w") as file:
            yield file, disk
        disk.check()
