"""Files that libraries write into, on a full disk too.

What torch, faiss and the HDF5 library say of a disk that refuses their writes is not what the system said, and HDF5
then ends the process with a segmentation fault.
"""

import hashlib
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pirt.core.files import written_whole

_DIGEST_BYTES = 64
_SEAL = re.compile(rb"[0-9a-f]{64}")
_BLOCK = 1 << 20


class Disk(io.FileIO):
    """A file that takes all writes and keeps the system's first refusal for `check`."""

    refusal: OSError | None = None

    def write(self, data: "bytes | memoryview[int]") -> int:  # type: ignore[override]  # libraries hand over memory alone
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

    def seal(self) -> None:
        """End the file with the SHA-256 of all that is in it, for `require_seal`."""
        self.check()
        self.seek(0)
        digest = hashlib.file_digest(self, "sha256").hexdigest()
        self.write(digest.encode())


@contextmanager
def written_through(path: Path, kind: type[Disk] = Disk) -> Iterator[Disk]:
    """Yield a file for a library to write into, which becomes `path` as `written_whole` says."""
    with written_whole(path) as beside, kind(beside, "w+") as disk:
        try:
            yield disk
        finally:
            # It is the reason for whatever the library raises thereafter.
            disk.check()


def require_seal(path: Path) -> None:
    """Raise ValueError unless the file ends with the SHA-256 of all before, as `Disk.seal` left it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        left = max(0, os.fstat(file.fileno()).st_size - _DIGEST_BYTES)
        while left and (block := file.read(min(left, _BLOCK))):
            digest.update(block)
            left -= len(block)
        seal = file.read()
    if seal == digest.hexdigest().encode():
        return
    if not _SEAL.fullmatch(seal):
        raise ValueError("it does not end with the SHA-256 of its content: it was cut, or an earlier version wrote it")
    raise ValueError("its content is not what was written (its SHA-256 differs)")
