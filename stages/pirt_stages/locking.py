"""One writer for each output: a lock that ends with its process, however that ends."""

import errno
import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pirt.core.errors import PirtError
from pirt.core.files import made_folder

# File systems that have no locks: some network mounts, FUSE.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class OutputInUseError(PirtError, OSError):
    """Another process is writing the output."""


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Lock `out` against other commands that would write it; a second one gets an `OutputInUseError`.

    The lock is on the file `.NAME.lock` beside `out`. The system drops it with the process, so that a kill leaves
    nothing to clean up. NFS since version 4 and Lustre with `flock` keep it across machines; where a file system has no
    locks, a line says so and the command goes on.
    """
    # A link to an output is that output, and both names have to meet at one lock.
    out = out.resolve() if out.is_dir() else out.absolute()
    path = out.with_name(f".{out.name}.lock")
    # A command that is refused leaves none of the folders that were made for its lock.
    with made_folder(out.parent):
        descriptor = _locked(path, out)
        try:
            yield
        finally:
            # Removed while it is locked, so that another command that has opened it finds that it is no longer the
            # file. Where somebody removed it already, the file there is another command's.
            if _is_still(path, descriptor):
                path.unlink(missing_ok=True)
            os.close(descriptor)


def _locked(path: Path, out: Path) -> int:
    while True:
        # No link: whoever may write beside an output could have any file written over.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise OutputInUseError(
                f"{out} is being written by {holder}; wait until that has ended, or name another --out"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise
            print(f"{out.parent} has no file locks: run one command at a time on {out.name}", file=sys.stderr)
            return descriptor
        if _is_still(path, descriptor):
            # A holder that was killed left its name, which may be longer than ours.
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, _own_name(), 0)
            return descriptor
        # Its holder removed it between our opening and locking it: take the file that others see now.
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _own_name() -> bytes:
    # Cut, so that all of it fits into the bytes that `_holder` reads.
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return json.dumps({"process": os.getpid(), "host": socket.gethostname(), "command": command[:500]}).encode()


def _holder(descriptor: int) -> str:
    try:
        known = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {known['process']} on {known['host']} ({known['command']})"
    except (ValueError, KeyError, TypeError, OSError):
        return "another process"
