"""Names of files in zips and tars that may not say how they are encoded: never guessed; the user is shown and asked."""

import codecs
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pirt.core.errors import DataError

# Of the zip format: a flag, and the field that holds a UTF-8 name beside one in another encoding.
_IS_UTF8 = 1 << 11
_UNICODE_PATH = 0x7075
_LIKELY = ("gbk", "cp950", "cp932", "cp949", "cp437", "cp850", "cp866", "cp1252")
"""What Windows packs with: Chinese twice, Japanese, Korean, Western twice, Cyrillic; the last one no longer."""
_LONGEST_SHOWN = 30
_ASCII_NAME = "a/1.jpg"


def is_encoding(name: str) -> bool:
    """Say whether Python knows an encoding of this name, one that writes ASCII as it is, as those of file names do."""
    try:
        return codecs.lookup(name) is not None and _ASCII_NAME.encode(name) == _ASCII_NAME.encode()
    except (LookupError, ValueError):
        return False


@dataclass
class Names:
    """Reads the names in `archive`; those that do not say how they are encoded are read in `encoding`.

    Without it they are read as UTF-8 if all of them can be; if not, only a person can tell what they are.
    """

    archive: Path
    encoding: str | None = None
    as_utf8: str | None = None
    """The first name that is read as UTF-8 without saying so."""

    def of_zip(self, infos: Sequence[zipfile.ZipInfo]) -> list[str]:
        """Return all names of a zip."""
        said = [_said(info) for info in infos]
        unsaid = [_raw(info) for info, name in zip(infos, said, strict=True) if name is None]
        found = iter(self._decoded(unsaid))
        return [next(found) if name is None else name for name in said]

    def of_tar(self, info: tarfile.TarInfo) -> str:
        """Return a name of a tar that was opened with `tar_encoding`."""
        # A pax header is UTF-8 by its definition.
        if info.name.isascii() or "path" in info.pax_headers:
            return info.name
        # Python reads bytes that are not of the encoding as surrogates, which become the bytes again.
        raw = info.name.encode(self.tar_encoding, "surrogateescape")
        return self._decoded([raw])[0]

    @property
    def tar_encoding(self) -> str:
        """The encoding in which Python is to read names that do not say theirs."""
        return self.encoding or "utf-8"

    def _decoded(self, names: Sequence[bytes]) -> list[str]:
        try:
            found = [name.decode(self.encoding or "utf-8") for name in names]
        except UnicodeError:
            raise self._undecided(names) from None
        if self.encoding is None and self.as_utf8 is None:
            self.as_utf8 = next(iter(found), None)
        return found

    def _undecided(self, names: Sequence[bytes]) -> DataError:
        encoding = self.encoding or "utf-8"
        first = next(name for name in names if _as(encoding, name) is None)
        part = next((part for part in first.split(b"/") if _as(encoding, part) is None), first)
        likely = [name for name in _LIKELY if all(_as(name, one) is not None for one in names)]
        shown = [f"{name} ({_shown(name, part)})" for name in likely]
        what = "not UTF-8 and do not say what they are" if self.encoding is None else f"not all {self.encoding}"
        fix = f"say which of these is right with --archive-names: {', '.join(shown)}; or " if shown else ""
        return DataError(
            f"archive {self.archive} has file names that are {what}; {fix}unpack it yourself and pass the folder"
        )


def _said(info: zipfile.ZipInfo) -> str | None:
    """Return a name of which a zip says that it is Unicode, or which is ASCII; None of others."""
    if info.flag_bits & _IS_UTF8 or info.orig_filename.isascii():
        return info.filename
    return _unicode_path(info.extra, _raw(info))


def _raw(info: zipfile.ZipInfo) -> bytes:
    """Return the bytes of a name that Python has read as code page 437; from 3.12 on `filename` may be another one."""
    return info.orig_filename.partition("\0")[0].encode("cp437")


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """Return the name that packers, as Info-ZIP and WinRAR, put beside `raw`, unless `raw` was changed since."""
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _UNICODE_PATH and field[:5] == struct.pack("<BL", 1, zlib.crc32(raw)):
            return _as("utf-8", field[5:])
    return None


def _shown(encoding: str, name: bytes) -> str:
    found = _as(encoding, name) or ""
    return repr(found if len(found) <= _LONGEST_SHOWN else f"{found[:_LONGEST_SHOWN]}…")


def _as(encoding: str, name: bytes) -> str | None:
    """Return a name in an encoding, None if it cannot be: what no terminal prints is in no name."""
    try:
        found = name.decode(encoding)
    except UnicodeError:
        return None
    return found if found.isprintable() or encoding == "utf-8" else None
