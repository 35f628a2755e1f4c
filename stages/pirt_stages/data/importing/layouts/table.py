"""Own data: a CSV table with a row an image."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from pirt.core.errors import DataError
from pirt.core.manifest import SPLITS
from pirt_stages.data.importing.layouts.found import FoundImage, Reading

COLUMNS = ("path", "split", "pid", "camid")
_HEADER_LENGTH = 10_000


@dataclass(frozen=True)
class TableLayout:
    """A folder with one CSV file whose columns are (at least) path, split, pid and camid."""

    name: str = "csv"
    title: str = "own data"
    signs: str = f"one .csv file with columns {', '.join(COLUMNS)}"
    table: str | None = None
    """Name of the file; None looks for it."""

    def recognises(self, root: Path) -> bool:
        """Say whether `root` holds a CSV file with these columns."""
        return bool(_tables(root))

    def read(self, root: Path) -> Reading:
        """List the rows; paths are relative to `root`, with / or \\."""
        tables = _tables(root) if self.table is None else [root / self.table]
        if len(tables) > 1:
            raise DataError(f"{root} holds several tables, {', '.join(path.name for path in tables)}; keep one")
        reading, text = Reading(), _text(tables[0])
        if (delimiter := _delimiter(tables[0])) is None:
            raise DataError(f"{tables[0]} lacks a header with the columns {', '.join(COLUMNS)}")
        rows = csv.DictReader(io.StringIO(text), delimiter=delimiter)
        for number, row in enumerate(rows, 2):
            reading.images.append(_image(row, root, f"{tables[0]}, line {number}"))
        if not reading.images:
            raise DataError(f"{tables[0]} has no row")
        return reading


def _tables(root: Path) -> list[Path]:
    return [path for path in sorted(root.glob("*.csv")) if path.is_file() and _delimiter(path)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"table {path} cannot be read as UTF-8 text: {error}") from error


def _delimiter(path: Path) -> str | None:
    """Return what separates the columns (spreadsheets write , or ; or tabs), None if they are not ours."""
    try:
        # Whether the rest is UTF-8 matters only of a table of ours.
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            header = file.readline(_HEADER_LENGTH)
    except OSError as error:
        raise DataError(f"table {path} cannot be read: {error}") from error
    return next((mark for mark in ",;\t" if set(COLUMNS) <= set(next(csv.reader([header], delimiter=mark), ()))), None)


def _image(row: dict[str, str], root: Path, where: str) -> FoundImage:
    path = PurePosixPath((row["path"] or "").strip().replace("\\", "/"))
    if path.is_absolute() or PureWindowsPath(path).drive or ".." in path.parts or not path.parts:
        raise DataError(f"{where}: path {row['path']!r} must be relative to {root} and stay inside")
    if not (root / path).is_file():
        raise DataError(f"{where}: image {str(path)!r} does not exist in {root}")
    split = next((name for name in SPLITS if name == row["split"]), None)
    if split is None:
        raise DataError(f"{where}: split {row['split']!r}, expected one of {', '.join(SPLITS)}")
    try:
        return FoundImage(str(path), split, int(row["pid"]), int(row["camid"]))
    except (ValueError, TypeError):
        raise DataError(f"{where}: pid {row['pid']!r} and camid {row['camid']!r} must be whole numbers") from None


CSV = TableLayout()
