"""HDF5 files that appear whole or not at all, on a full disk too."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from pirt.core.disk import Disk, written_through

_PAGE = 1 << 16


class _ReadBack(Disk):
    """Gives back what was refused as if it had been written.

    The HDF5 library reads its own B-trees and chunks again, and ends the process when they are not what it wrote.
    Memory holds what comes between a refusal and the next `check`.
    """

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(path, mode)
        self._pages: dict[int, bytearray] = {}

    def write(self, data: "bytes | memoryview[int]") -> int:  # type: ignore[override]  # as its base
        at = self.tell()
        super().write(data)
        if self.refusal is not None:
            for number, of_page, of_data in _pieces(at, len(data)):
                self._pages.setdefault(number, self._page(number))[of_page] = data[of_data]
        return len(data)

    def readinto(self, target: Any) -> int:
        if self.refusal is None:
            return super().readinto(target) or 0
        view, at = memoryview(target).cast("B"), self.tell()
        for number, of_page, of_data in _pieces(at, len(view)):
            view[of_data] = self._page(number)[of_page]
        self.seek(at + len(view))
        return len(view)

    def _page(self, number: int) -> bytearray:
        if number in self._pages:
            return self._pages[number]
        page = bytearray(_PAGE)
        # This leaves the place in the file where the library expects it.
        os.preadv(self.fileno(), [page], number * _PAGE)
        return page


def _pieces(at: int, length: int) -> Iterator[tuple[int, slice, slice]]:
    """Cut `length` bytes at `at` by pages: the page's number, the piece in the page, the piece in the bytes."""
    done = 0
    while done < length:
        number, start = divmod(at + done, _PAGE)
        size = min(_PAGE - start, length - done)
        yield number, slice(start, start + size), slice(done, done + size)
        done += size


@contextmanager
def written_hdf5(path: Path, *, seal: bool = False) -> Iterator[tuple[h5py.File, Disk]]:
    """Yield an HDF5 file, with its disk, which becomes `path` as `written_whole` says, sealed at its end if asked."""
    with written_through(path, _ReadBack) as disk:
        with h5py.File(disk, "w") as file:
            yield file, disk
        if seal:
            disk.seal()  # HDF5 does not look beyond its own last byte
