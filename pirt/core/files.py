"""Outputs that appear whole or not at all, and fingerprints of inputs."""

import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from urllib.request import url2pathname

from pirt.core.errors import PirtError

_TRACE = re.compile(r"\..+\.([0-9a-f]{8}\.(former\.)?partial|lock)")
"""Names of what is beside an output while it is written, and may stay there after a kill."""
_FORMER = ".former.partial"
"""How the name ends by which an earlier folder waits while the new one takes its place."""
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*", b"BM", b"RIFF")
"""How files of JPEG, PNG, GIF, TIFF, BMP and WebP begin."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk is full, a quota, `ulimit -f`
_CLUTTER = frozenset({".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", ".directory"})


def is_clutter(name: str) -> bool:
    """Tell whether a desktop or a file server, and nobody on purpose, leaves files of this name in folders."""
    return name.lower() in _CLUTTER or name.startswith("._")


def is_trace(name: str) -> bool:
    """Tell whether a file or folder of this name comes from a command at work, or one that was killed."""
    return _TRACE.fullmatch(name) is not None


def files_named(name: str, folder: Path) -> list[Path]:
    """Return the files of this name in and below `folder`, sorted, but for those of a command at work or killed."""
    found = folder.rglob(name)
    return sorted(path for path in found if not any(map(is_trace, path.relative_to(folder).parts)))


def is_free(path: Path) -> bool:
    """Tell whether nothing is at `path` that anybody would miss: nothing at all, or a folder of clutter."""
    if path.is_dir():
        return all(is_clutter(entry.name) for entry in path.iterdir())
    return not path.exists()


def is_stream(path: Path) -> bool:
    """Tell whether `path` is a pipe, socket or device: opening it waits for others, and what it gives may never end."""
    mode = path.stat().st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def refuse_stream(path: Path) -> None:
    """Raise PirtError when `path`, which is there and is to be read, is a pipe or device."""
    if is_stream(path):
        raise PirtError(f"{path} is a pipe or device, not a file; save what it gives into a file and name that")


def refuse_stream_as_output(path: Path) -> None:
    """Raise PirtError when writing `path` whole would put a file in the place of a pipe or device, as /dev/null is.

    /dev/stdout is a link to what this process has open, be it a file.
    """
    if (path.exists() and is_stream(path)) or (path.is_symlink() and path.readlink().as_posix().startswith("/proc/")):
        raise PirtError(f"{path} is a pipe or device and would be replaced by a file; name a file")


@contextmanager
def written_whole(path: Path, *, picture: bool = False) -> Iterator[Path]:
    """Yield a path in a folder beside `path`; what is there when the block ends well (file or folder) becomes `path`.

    An earlier `path` is replaced, but a folder never by a file, and an image only by a `picture`, which replaces
    nothing else: a PirtError.
    When the block raises, nothing is left behind and `path` is untouched. What a kill left behind is removed when the
    same `path` is written again.
    """
    if path.name in ("", ".."):
        raise PirtError(f"{path} does not name what to write; name the file or folder itself")
    refuse_stream_as_output(path)
    refuse_other_kind(path, picture)
    if path.is_dir():
        # A rename would replace a link to a folder instead of the folder.
        path = path.resolve()
    folder = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    with made_folder(path.parent), _held_folder(folder):
        # Its own folder is locked by now, so it is passed over.
        remove_left_over(path)
        beside = folder / path.name
        try:
            yield beside
        except OSError as error:
            # Writing names no file, reading does; and what was written is not of this name anyway. The block of another
            # output, within this one, has named its own.
            named = error.filename
            if named is None or (error.errno in _NO_ROOM and Path(str(named)).is_relative_to(folder)):
                error.filename = str(path)
            raise
        if not beside.is_dir():
            refuse_folder(path)
        put_in_place(beside, path)


def refuse_other_kind(path: Path, picture: bool) -> None:
    """Raise PirtError where an image would be replaced by what is none, or by a `picture` what is none."""
    if path.is_file():
        with reading(path), path.open("rb") as file:
            begins = file.read(4)
        if begins and begins.startswith(_IMAGES) != picture:
            raise PirtError(f"{path} is {'not ' if picture else ''}an image and would be replaced; name another file")


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; when the block raises, those that were made and are still empty go again."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            # The innermost first: one that is not empty keeps those above it too.
            for place in missing:
                place.rmdir()
        raise


@contextmanager
def _held_folder(folder: Path) -> Iterator[None]:
    """Make a folder that ends with the block, and lock it, so that others tell it from one that a kill left."""
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor)
        yield
    finally:
        # Still locked: without the lock it would look like one that a kill left.
        shutil.rmtree(folder)
        os.close(descriptor)


def remove_left_over(path: Path) -> None:
    """Remove what killed processes left when they wrote `path`, and put back what they had put aside.

    Removed is whatever has such a name and is locked by nobody.
    """
    ours = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.(former\.)?partial")
    for left in path.parent.iterdir():
        if ours.fullmatch(left.name) and not left.is_symlink():
            _remove_unless_held(left, path)


def _remove_unless_held(left: Path, path: Path) -> None:
    try:
        descriptor = os.open(left, os.O_RDONLY)
    except FileNotFoundError:  # its process has removed it meanwhile
        return
    try:
        if not _lock(descriptor):
            return
        if left.name.endswith(_FORMER) and not path.exists():
            left.rename(path)  # killed between two renames
        elif left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock an open file or folder; False where another process holds it or the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def put_in_place(made: Path, path: Path) -> None:
    """Rename `made`, which lies on the same disk, to `path`.

    A folder that is there is removed only when the new one is in its place. Where the system refuses, as for a folder
    that is a disk of its own, what is there stays whole.
    """
    if not (made.is_dir() and path.is_dir()):
        made.replace(path)
        return
    # A rename takes the place of a file, but never of a folder with something in it: that one has to go aside first.
    _make_removable(path)
    former = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{_FORMER}")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _lock(descriptor)  # so that others tell it from one that a kill left
        path.rename(former)
        try:
            made.replace(path)
        except BaseException:  # Ctrl-C between the two renames too
            former.rename(path)
            raise
        shutil.rmtree(former)
    finally:
        os.close(descriptor)


def _make_removable(folder: Path) -> None:
    """Let folders that nobody may write in, as DVC and careful people leave them, lose their files.

    PermissionError, before anything is removed, where these are another's.
    """
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IRWXU)
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            _make_removable(entry)


def refuse_folder(path: Path) -> None:
    """Raise PirtError when `path`, which is to become a file, is a folder."""
    if path.is_dir():
        raise PirtError(f"{path} is a folder, not a file; name a file in it")


def require_apart(out: Path, *sources: str | Path | None) -> None:
    """Raise PirtError when `out` is one of the files that `sources`, paths or URLs, name for reading."""
    for source in filter(None, sources):
        path = Path(url2pathname(str(source).removeprefix("file://")))
        if out.is_file() and path.is_file() and out.samefile(path):
            raise PirtError(f"{out} is read by this command and would be replaced; name another --out")


def refuse_unlike(path: Path, is_like: Callable[[Path], bool], what: str) -> None:
    """Raise PirtError where a file that is to be replaced is not `what` it becomes; nobody misses an empty one."""
    if path.is_file() and path.stat().st_size and not is_like(path):
        raise PirtError(f"{path} is not {what} and would be replaced; name another --out")


def refuse_other_files(path: Path, ours: Collection[str], forms: Collection[str] = ()) -> None:
    """Raise PirtError unless `path` is absent or a folder with no files but ours, which somebody put there.

    Ours have, relative to it, a name in `ours` or one of the `forms`, in which * is any part of one name.
    """
    if path.is_file():
        raise PirtError(f"{path} is a file, not a folder; name another place or remove it")
    for entry in path.rglob("*"):
        name = entry.relative_to(path).as_posix()
        # What a kill left is nobody's work either.
        known = name in ours or any(is_clutter(part) or is_trace(part) for part in Path(name).parts)
        # An absolute pattern is matched from the first part on.
        if known or any(PurePosixPath("/", name).match(f"/{form}") for form in forms):
            continue
        if entry.is_symlink() or not entry.is_dir():
            raise PirtError(f"{path} holds {name}, which would be lost; name another folder or empty this one")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name `path` in what the system refuses, which does not say of which file a read failed."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    refuse_stream(path)
    with reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_or_url(source: str) -> str:
    """Return the SHA-256 of the file `source`, or `source` itself if it is a URL, whose content does not change."""
    if "://" in source:
        return source
    try:
        return sha256_of(Path(source))
    except OSError as error:
        raise PirtError(f"{source} cannot be read: {error.strerror}; give a file or a URL") from error


# Errors that a file's own place, name or content may cause; any other is about the system. EINVAL is what readers get
# when a damaged file sends them to a place before its beginning.
_OF_THE_FILE = (errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL)


def is_refusal(error: BaseException | None) -> bool:
    """Tell whether the system refused a file that may itself be good: no rights, too many open files, no memory."""
    # An OSError without a number is a library's own, as Pillow raises it for a damaged image.
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno not in (None, *_OF_THE_FILE))


def pass_on_refusal(error: BaseException) -> None:
    """Raise `error` again if it is a refusal, which must never be taken for damage: what is damaged is made again."""
    if is_refusal(error):
        raise error


_DRIVE = re.compile(r"[^/]:")
"""Of Windows, as in C:/x, which does not begin with a slash."""


def stays_inside(path: str) -> bool:
    """Tell whether a posix path is relative and names something below the folder that it starts from.

    A backslash is refused too, which Windows takes for a slash.
    """
    parts = path.split("/")
    outside = path.startswith("/") or ".." in parts or "\\" in path or "\0" in path or _DRIVE.match(path)
    return not outside and not {"", "."}.issuperset(parts)
