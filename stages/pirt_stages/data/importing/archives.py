"""Unpacking zip and tar files from strangers: nothing outside the target, no links, no bombs, no half result."""

import errno
import hashlib
import json
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Self

from pirt.core.errors import DataError, PirtError
from pirt.core.files import is_clutter, is_free, pass_on_refusal, stays_inside, written_whole
from pirt.core.texts import json_in
from pirt.progress import progress
from pirt_stages.data.importing.archive_names import Names

MARK = ".pirt-unpacked.json"
GIGABYTE = 1_000_000_000
_AS_UTF8, _FILES = "as_utf8", "files"
_TRUSTED = "; if you trust it, unpack it yourself and pass the folder"
_LONGEST_EXTENSION = 1 << 13  # bytes; the longest path takes half of that
_EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


@dataclass(frozen=True)
class Limits:
    """Most that an archive may hold: bytes in all, files, and bytes unpacked per byte packed (images hardly shrink)."""

    total: int = 200 * GIGABYTE
    files: int = 2_000_000
    ratio: int = 40
    ratio_from: int = GIGABYTE // 5
    """Unpacked size below which the ratio does not matter."""


@dataclass(frozen=True)
class Member:
    """A regular file in an archive."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def is_archive(path: Path) -> bool:
    """Say whether `path` is a file that can be unpacked."""
    if not path.is_file():
        return False
    with _damage_named(path):
        return _is_tar(path) or zipfile.is_zipfile(path)


def _is_tar(path: Path) -> bool:
    """Say whether the file begins as a tar: one whose last member is a zip would also pass for that zip."""
    try:
        tarfile.open(path, tarinfo=_TarHeader).close()
    except tarfile.TarError:
        return False
    return True


def place_of_files(archive: Path, target: Path | None) -> Path:
    """Return the folder that an archive is unpacked to: `target`, by default one beside it."""
    return target or archive.with_name(f"{archive.name}.unpacked")


@contextmanager
def unpacked(
    archive: Path, target: Path | None = None, limits: Limits = Limits(), encoding: str | None = None
) -> Iterator[tuple[Path, Path]]:
    """Yield the folder with the files of `archive`, unpacked unless that was done before, and where it is to lie.

    That is `place_of_files`. A folder that holds anything else, be it another archive's files,
    is not touched; files of the same archive, changed since, are replaced when the block ends well. `encoding` is that
    of file names that do not say theirs.
    """
    folder = place_of_files(archive, target)
    # Size and time instead of a hash, which would read gigabytes to find that nothing has changed.
    stamp = {
        "archive": archive.name,
        "bytes": archive.stat().st_size,
        "mtime_ns": archive.stat().st_mtime_ns,
        "encoding": encoding,
    }
    if earlier := not is_free(folder):
        found = _stamp(folder)
        if stamp.items() <= found.items():
            yield folder, folder
            return
        other = found.get("archive")
        if other != archive.name:
            held = "something else" if other is None else f"the files of another archive, {other}"
            raise DataError(f"{folder} holds {held}; name another folder for the files of {archive}")
        if found.get(_FILES) != _files_in(folder):
            raise DataError(
                f"{archive} or its --archive-names changed, and so did files in {folder}, which would be lost; name "
                "another folder with --unpack-to, or remove that one"
            )
    # The same archive, if there is one: changed since, or to be read in another encoding.
    with written_whole(folder) as beside:
        with _damage_named(archive):
            beside.mkdir()
            names = Names(archive, encoding)
            _unpack(archive, beside, limits, names)
            stamp |= {_AS_UTF8: names.as_utf8, _FILES: _files_in(beside)}
            (beside / MARK).write_text(json.dumps(stamp) + "\n", encoding="utf-8")
        if earlier:
            with _told_of(archive, beside):
                yield beside, folder
    if not earlier:
        yield folder, folder


@contextmanager
def _told_of(archive: Path, beside: Path) -> Iterator[None]:
    """Name the archive in errors about files that will be gone by the time somebody looks for them."""
    try:
        yield
    except PirtError as error:
        error.args = (str(error).replace(str(beside), str(archive)),)
        raise


def _files_in(folder: Path) -> str:
    """Return a SHA-256 of the names, sizes and times of a folder's files: what somebody put or changed there shows."""
    files = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    there = [(str(path.relative_to(folder)), path.lstat()) for path in files if not is_clutter(path.name)]
    told = sorted((name, status.st_size, status.st_mtime_ns) for name, status in there if name != MARK)
    return hashlib.sha256(repr(told).encode()).hexdigest()


def assumed_of(folder: Path) -> str | None:
    """Say what was assumed when an archive was unpacked to `folder`, None if nothing was."""
    found = _stamp(folder)
    if not (name := found.get(_AS_UTF8)):
        return None
    return (
        f"file names of {found['archive']} do not say how they are encoded and are read as UTF-8, such as {name!r}; "
        "--archive-names says another encoding"
    )


def _stamp(folder: Path) -> dict[str, object]:
    try:
        found = json_in(folder / MARK)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def _damage_named(archive: Path) -> Iterator[None]:
    try:
        yield
    except PirtError:
        raise
    except OSError as error:
        # What the system refuses has a number. Damage has none, or that of a place before the file's beginning.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise DataError(f"archive {archive} is damaged: {error}") from error
    except _RefusedError as error:
        raise DataError(f"archive {archive} holds {error}{_TRUSTED}") from error
    except Exception as error:  # the readers trust headers: sizes, offsets, names and numbers may be anything
        pass_on_refusal(error)
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"archive {archive} is damaged or of an unknown kind: {reason}") from error


def _unpack(archive: Path, folder: Path, limits: Limits, names: Names) -> None:
    gate = _Gate(archive, folder, limits)
    if _is_tar(archive):
        with tarfile.open(archive, "r|*", tarinfo=_TarHeader, encoding=names.tar_encoding) as stream:
            gate.write(gate.admit(_tar_members(archive, stream, names)))
    else:
        with zipfile.ZipFile(archive) as packed:
            # A zip tells everything beforehand; a tar only as it is read.
            gate.write(list(gate.admit(_zip_members(archive, packed, names))))


class _Gate:
    """Lets members through while names, sizes and the free space are right."""

    def __init__(self, archive: Path, folder: Path, limits: Limits) -> None:
        self.archive, self.folder, self.limits = archive, folder, limits
        self.total = self.written = 0
        self.seen: set[str] = set()
        self.folders: set[str] = set()

    def admit(self, members: Iterator[Member]) -> Iterator[tuple[Member, PurePosixPath]]:
        """Yield each member with its path in the target; raise at the first that must not be unpacked."""
        for member in members:
            if member.size < 0:
                raise DataError(f"archive {self.archive}: {member.name!r} has {member.size} bytes; it is damaged")
            path = _inside(self.archive, member.name)
            if str(path) in self.seen:
                raise DataError(f"archive {self.archive} holds {member.name!r} twice")
            self.seen.add(str(path))
            self.folders.update(map(str, path.parents))
            if both := self.seen & {str(path), *map(str, path.parents)} & self.folders:
                raise DataError(f"archive {self.archive} holds {min(both)!r} as a file and as a folder; it is damaged")
            self.total += member.size
            self._check_size()
            yield member, path

    def write(self, admitted: Iterable[tuple[Member, PurePosixPath]]) -> None:
        """Write admitted members into the target."""
        with progress(None, f"unpacking {self.archive.name}", "B") as bar:
            for member, path in admitted:
                _write(member, self.folder / path, self.archive)
                self.written += member.size
                bar.update(member.size)

    def _check_size(self) -> None:
        limits, packed = self.limits, self.archive.stat().st_size
        if self.total > limits.total or len(self.seen) > limits.files:
            reason = f"more than {limits.total:,} bytes or {limits.files:,} files"
        elif self.total > max(limits.ratio_from, limits.ratio * packed):
            reason = f"over {limits.ratio} times its {packed:,} bytes, and images do not shrink so much"
        # A tar is written as it is admitted: what it has written is not free any more.
        elif self.total - self.written > (free := shutil.disk_usage(self.folder).free):
            reason = f"more than the {free:,} bytes that are free in {self.folder.parent}"
        else:
            return
        raise DataError(f"archive {self.archive} would unpack to {reason}{_TRUSTED}")


def _inside(archive: Path, name: str) -> PurePosixPath:
    """Return the member's path; raise when it could lie outside of the target."""
    # Windows packers may part folders by a backslash.
    path = PurePosixPath(name.replace("\\", "/"))
    if not stays_inside(str(path)):
        raise DataError(f"archive {archive} holds {name!r}, which leaves the folder it is unpacked to; refused")
    return path


def _write(member: Member, path: Path, archive: Path) -> None:
    """Copy a member to `path`, never more bytes than it was said to have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    left = member.size
    # One byte more is asked for than is due, to see that there is none.
    # "x" fails where a file system takes two names of the archive for one.
    with member.open() as source, path.open("xb") as target:
        while block := source.read(min(1 << 20, left + 1)):
            left -= len(block)
            if left < 0:
                raise DataError(
                    f"archive {archive}: {member.name!r} is larger than the {member.size:,} bytes it declares"
                )
            target.write(block)
    if left:
        raise DataError(f"archive {archive}: {member.name!r} ends {left:,} bytes early")


def _zip_members(archive: Path, packed: zipfile.ZipFile, names: Names) -> Iterator[Member]:
    infos = [info for info in packed.infolist() if not info.is_dir()]
    for info, name in zip(infos, names.of_zip(infos), strict=True):
        if name.endswith("\\"):  # a folder of a Windows packer; `is_dir` only knows the slash
            continue
        # The upper half is Unix's mode; packers of other systems leave it 0.
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise DataError(f"archive {archive}: {name!r} is a link or device; refused{_TRUSTED}")
        if info.flag_bits & 1:
            raise DataError(f"archive {archive} is encrypted; unpack it with its password and pass the folder")
        yield Member(name, info.file_size, partial(packed.open, info))


class _RefusedError(Exception):
    """An archive may be whole, but holds what is not read."""


class _TarHeader(tarfile.TarInfo):
    """A tar header, looked at before what extends it is read: Python reads that whole, at worst in quadratic time."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read one block."""
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            # Python takes any of these for the end of the archive, which only zeros or nothing at all are.
            if not any(buf):
                raise
            raise tarfile.ReadError(str(error)) from error
        if header.type in _EXTENSIONS and not 0 <= header.size <= _LONGEST_EXTENSION:
            raise _RefusedError(
                f"a header extension of {header.size:,} bytes, over the limit of {_LONGEST_EXTENSION:,}"
            )
        return header


def _tar_members(archive: Path, stream: tarfile.TarFile, names: Names) -> Iterator[Member]:
    for info in stream:
        if info.isdir():
            continue
        source = stream.extractfile(info) if info.isreg() else None
        if source is None:
            raise DataError(f"archive {archive}: {info.name!r} is a link or device; refused{_TRUSTED}")
        # Opened already, since a stream has no way back to it.
        yield Member(names.of_tar(info), info.size, partial(_itself, source))


def _itself(source: IO[bytes]) -> IO[bytes]:
    return source
