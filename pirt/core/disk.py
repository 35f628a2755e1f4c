"""Files that libraries write into, safe on a full disk and on Ctrl-C.

When a disk refuses their writes, torch, faiss and the HDF5 library report something other than what the system said,
and HDF5 then ends the process with a segmentation fault. It does so too when a signal's exception comes out of a write.
"""

import hashlib
import io
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from pirt.core.files import reading, refuse_stream, written_whole

_DIGEST_BYTES = 64
_SEAL = re.compile(rb"[0-9a-f]{64}")
_BLOCK = 1 << 20
# SIGHUP ends a program at once, as a kill does.
_DEFERRED = (signal.SIGINT, signal.SIGTERM)


class Disk(io.FileIO):
    """A file that takes all writes and keeps the system's first refusal for `check`."""

    refusal: OSError | None = None
    let_signals: Callable[[], None] = staticmethod(lambda: None)

    def write(self, data: "bytes | memoryview[int]") -> int:  # type: ignore[override]  # libraries hand over memory alone
        """Write all of `data`, or nothing from the first refusal on."""
        rest = memoryview(data)
        # A raw file may take less than it is given.
        while rest and self.refusal is None:
            try:
                rest = rest[super().write(rest) :]
            except OSError as error:
                self.refusal = OSError(error.errno, error.strerror, self.name)
        # Claimed after a refusal too: a library that is told of it reports something else or ends the process.
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Cut or extend the file."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.refusal = self.refusal or OSError(error.errno, error.strerror, self.name)
            return self.tell()

    def check(self) -> None:
        """Raise what the system refused, and let signals in; whoever writes for long calls this now and then."""
        self.let_signals()
        if self.refusal is not None:
            raise self.refusal

    def seal(self) -> None:
        """End the file with the SHA-256 of all that is in it, for `require_seal`."""
        # Not over a write that was refused, for which the digest would vouch.
        self.check()
        self.seek(0)
        digest = hashlib.file_digest(self, "sha256").hexdigest()
        self.write(digest.encode())


@contextmanager
def written_through(path: Path, kind: type[Disk] = Disk) -> Iterator[Disk]:
    """Yield a file for a library to write into, which becomes `path` as `written_whole` says.

    Signals wait for the file's `check`, or for the end of the block.
    """
    # In this order: a signal that waited comes when the file is closed, but while it can still be thrown away. Open for
    # reading too, since HDF5 reads what it wrote, and the seal all of it.
    with written_whole(path) as beside, _signals_deferred() as let_signals, kind(beside, "w+") as disk:
        disk.let_signals = let_signals
        try:
            yield disk
        finally:
            # Whatever the library has raised by now, the system's refusal is the reason.
            disk.check()


@contextmanager
def _signals_deferred() -> Iterator[Callable[[], None]]:
    """Hold signals back from the block, except while it calls what is yielded; none is lost."""
    if threading.current_thread() is not threading.main_thread():  # to which signals never come
        yield lambda: None
        return
    waiting: list[signal.Signals] = []

    def note(number: int, _: FrameType | None) -> None:
        waiting.append(signal.Signals(number))

    def let_signals() -> None:
        while waiting:
            number = waiting.pop(0)
            signal.signal(number, before[number])
            signal.raise_signal(number)
            # A handler may have replaced itself, as one that ends the process on the second signal; that one stays.
            if signal.getsignal(number) is before[number]:
                signal.signal(number, note)

    before = {number: signal.getsignal(number) for number in _DEFERRED}
    try:
        for number in _DEFERRED:
            signal.signal(number, note)
        yield let_signals
    finally:
        for number in _DEFERRED:
            if signal.getsignal(number) is note:
                signal.signal(number, before[number])
        # Last, since these handlers may raise.
        for number in waiting:
            signal.raise_signal(number)


def require_seal(path: Path) -> None:
    """Raise ValueError unless the file ends with the SHA-256 of all before, as `Disk.seal` left it."""
    refuse_stream(path)
    digest = hashlib.sha256()
    with reading(path), path.open("rb") as file:
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
