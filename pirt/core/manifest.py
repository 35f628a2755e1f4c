"""The manifest: one CSV row an image, shared by every program."""

import csv
import hashlib
import io
import os
import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal, get_args

from pirt.core.errors import ManifestError
from pirt.core.files import written_whole

Split = Literal["train", "query", "gallery"]
SPLITS: tuple[Split, ...] = get_args(Split)
COLUMNS = ("key", "path", "split", "pid", "camid", "sha256")
_ROOT_LINE = "# root: "
_STAND_IN_LINE = "# stand-in"
_STAND_IN_MARK = "-standin"
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image. `path` is posix and relative to the data root; pid −1 is junk, pid 0 a distractor."""

    key: str
    path: str
    split: Split
    pid: int
    camid: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The images of one benchmark, in a fixed order, and the folder that their paths start from.

    `stand_in` says that they only stand in for those of a published data set.
    """

    rows: tuple[ImageRow, ...]
    root: Path
    stand_in: bool = False

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the rows, marked if of a stand-in; where the images lie does not change it."""
        digest = hashlib.sha256(_rows_as_csv(self.rows).encode()).hexdigest()
        return digest + _STAND_IN_MARK if self.stand_in else digest

    @property
    def keys(self) -> tuple[str, ...]:
        """Every image's key, in order."""
        return tuple(row.key for row in self.rows)

    def image_path(self, row: ImageRow) -> Path:
        """Return where the image of `row` lies."""
        return self.root / row.path

    def split(self, split: Split) -> tuple[ImageRow, ...]:
        """Return the rows of one split; an empty one is an error."""
        rows = tuple(row for row in self.rows if row.split == split)
        if not rows:
            found = sorted({row.split for row in self.rows})
            raise ManifestError(f"the manifest has no {split!r} image, only {found}; import a data set with it")
        return rows

    def require_files(self, rows: Sequence[ImageRow] | None = None) -> None:
        """Raise when the root or any image of `rows` (all by default) is missing, naming the first ones."""
        if not self.root.is_dir():
            raise ManifestError(f"data root {self.root} is not a folder; pass the right one with --root")
        missing = [row.path for row in (self.rows if rows is None else rows) if not (self.root / row.path).is_file()]
        if missing:
            raise ManifestError(
                f"{len(missing)} of the manifest's images are missing under {self.root}, the first is "
                f"{missing[0]!r}; restore them or pass the right folder with --root"
            )


def is_of_stand_in(fingerprint: str) -> bool:
    """Tell from a manifest's fingerprint, as every lineage holds it, whether the images were a stand-in."""
    return fingerprint.endswith(_STAND_IN_MARK)


def write_manifest(path: Path, rows: Iterable[ImageRow], root: Path, stand_in: bool = False) -> Manifest:
    """Check `rows` and write them to `path`; a relative `root` is recorded relative to the manifest's folder."""
    manifest = Manifest(_checked(tuple(rows), path), root, stand_in)
    recorded = root if root.is_absolute() else _relative(root, path.parent)
    with written_whole(path) as beside:
        head = f"{_ROOT_LINE}{recorded.as_posix()}\n" + (f"{_STAND_IN_LINE}\n" if stand_in else "")
        beside.write_text(head + _rows_as_csv(manifest.rows), encoding="utf-8", newline="")
    return manifest


def _relative(root: Path, folder: Path) -> Path:
    """Return the way from `folder` to `root`, through the links that the user named unless ".." leads astray there."""
    way = Path(os.path.relpath(root, folder))
    if (folder / way).resolve() == root.resolve():
        return way
    return Path(os.path.relpath(root.resolve(), folder.resolve()))


def read_manifest(path: Path, root: Path | None = None) -> Manifest:
    """Read a manifest. `root` overrides the recorded data root; without either it is the manifest's folder."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ManifestError(f"manifest {path} does not exist; make one with `pirt-data import`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"manifest {path} cannot be read as UTF-8 text: {error}") from error
    recorded = "."
    if text.startswith(_ROOT_LINE):
        first, _, text = text.partition("\n")
        recorded = first.removeprefix(_ROOT_LINE).strip()
    if stand_in := text.startswith(f"{_STAND_IN_LINE}\n"):
        text = text.partition("\n")[2]
    try:
        table = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise ManifestError(f"manifest {path} is no CSV file: {error}") from error
    header = tuple(table[0]) if table else ()
    if header != COLUMNS:
        raise ManifestError(f"manifest {path} has columns {reprlib.repr(header)}, expected {COLUMNS}")
    rows = tuple(_parsed(fields, f"{path}, row {number}") for number, fields in enumerate(table[1:], 1) if fields)
    return Manifest(_checked(rows, path), path.parent / recorded if root is None else root, stand_in)


def _rows_as_csv(rows: Iterable[ImageRow]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows((row.key, row.path, row.split, row.pid, row.camid, row.sha256) for row in rows)
    return text.getvalue()


def _parsed(fields: list[str], where: str) -> ImageRow:
    if len(fields) != len(COLUMNS):
        raise ManifestError(f"{where}: {len(fields)} fields, expected {len(COLUMNS)}: {', '.join(COLUMNS)}")
    key, path, split, pid, camid, sha256 = fields
    if split not in SPLITS:
        raise ManifestError(f"{where}: split {split!r}, expected one of {', '.join(SPLITS)}")
    try:
        return ImageRow(key, path, split, int(pid), int(camid), sha256)
    except ValueError:
        raise ManifestError(f"{where}: pid {pid!r} and camid {camid!r} must be whole numbers") from None


def _checked(rows: tuple[ImageRow, ...], path: Path) -> tuple[ImageRow, ...]:
    if not rows:
        raise ManifestError(f"manifest {path} lists no image")
    seen: set[str] = set()
    for row in rows:
        parts = PurePosixPath(row.path)
        outside = parts.is_absolute() or ".." in parts.parts or "\\" in row.path or PureWindowsPath(row.path).drive
        if outside or not parts.parts:
            raise ManifestError(f"manifest {path}: path {row.path!r} leaves the data root; use relative posix paths")
        if not row.key or row.key in seen:
            raise ManifestError(f"manifest {path}: key {row.key!r} is empty or stands twice; keys must be unique")
        seen.add(row.key)
        if not -1 <= row.pid <= _LARGEST or abs(row.camid) > _LARGEST:
            raise ManifestError(
                f"manifest {path}: {row.key!r} has pid {row.pid} and camid {row.camid}; expected 64-bit numbers and "
                "a pid of -1 (junk), 0 (distractor) or above (an identity)"
            )
    return rows
