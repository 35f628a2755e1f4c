"""Own data: a CSV table with a row for each image."""

import csv
import io
import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from pirt.core.errors import DataError
from pirt.core.files import stays_inside
from pirt.core.manifest import SPLITS, Split
from pirt.core.pids import JUNK_PID
from pirt.core.texts import SEPARATOR_LINE, encoding_of
from pirt_stages.data.importing.layouts.found import UNREAD, UNREAD_SUFFIXES, FoundImage, Reading, is_there
from pirt_stages.data.importing.layouts.numbering import numbers_of
from pirt_stages.data.importing.texts import text_in

COLUMNS = ("path", "split", "pid", "camid")
TABLE_SUFFIXES = (".csv", ".tsv", ".txt")
"""Of tables that are named; spreadsheets save Unicode text as .txt. In folders only .csv is looked for."""
# Characters, so that of somebody's file without line ends only its beginning is read.
_HEADER_LENGTH = 10_000
_MARKS = ",;\t|"
"""What may separate columns."""
_END = "\x1a" * 3
"""What is put behind a table."""
_LONGEST_PATH = 4096


@dataclass(frozen=True)
class TableLayout:
    """A folder with one CSV file whose columns are (at least) path, split, pid and camid.

    Persons and cameras may be whole numbers or names.
    """

    name: str = "csv"
    title: str = "own data"
    signs: str = f"one .csv file with columns {', '.join(COLUMNS)}"
    table: str | None = None
    """Name of the file; None looks for it."""

    def recognises(self, root: Path) -> bool:
        """Say whether `root` holds a CSV file with these columns."""
        return bool(_tables(root))

    def nearly(self, root: Path) -> str | None:
        """Say that a CSV file has some of the columns only."""
        for path in _csv_files(root):
            found = set(_likeliest_header(path)) & set(COLUMNS)
            if found:
                return f"{path.name} with the columns {', '.join(sorted(found))}, but not {', '.join(_lacking(found))}"
        return None

    def read(self, root: Path) -> Reading:
        """List the rows; paths are relative to `root`, with / or \\."""
        tables = _tables(root) if self.table is None else [root / self.table]
        if len(tables) > 1:
            raise DataError(f"{root} holds several tables, {', '.join(path.name for path in tables)}; keep one")
        reading, table = Reading(), tables[0]
        rows = list(_rows(table))
        wheres = [f"{table}, line {line}" for line, _ in rows]
        images = [_image(row, root, where) for (_, row), where in zip(rows, wheres, strict=True)]
        numbers = []
        for what, column in (("person", "pid"), ("camera", "camid")):
            found, names = numbers_of([row[column] for _, row in rows], column, wheres)
            numbers.append(found)
            if names:
                reading.names[what] = names
        for (path, split), pid, camid in zip(images, *numbers, strict=True):
            reading.images.append(FoundImage(path, split, pid, camid))
        _require_agreement(reading.images, wheres)
        if not reading.images:
            raise DataError(f"{table} has no row")
        return reading


def _csv_files(root: Path) -> list[Path]:
    # Patterns tell capitals apart on Linux, and a Mac's ._ files hold no table.
    return [path for path in sorted(root.glob("*.[cC][sS][vV]")) if path.is_file() and not path.name.startswith("._")]


def _tables(root: Path) -> list[Path]:
    return [path for path in _csv_files(root) if _delimiter(path)]


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, row) of a table; names of columns are small and without spaces around them."""
    delimiter = _delimiter(table)
    if delimiter is None:
        found = _likeliest_header(table)
        raise DataError(
            f"{table} lacks a header with the columns {', '.join(COLUMNS)}; found "
            f"{', '.join(found)[:200]!r}, without {', '.join(_lacking(set(found)))}"
        )
    text = text_in(table, "table", "a spreadsheet saves it as 'CSV UTF-8'")
    records = _records(table, text, delimiter)
    if SEPARATOR_LINE.match(text):
        next(records)
    header = [name.strip().lower() for name in next(records)[1]]
    if twice := [name for name in COLUMNS if header.count(name) > 1]:
        raise DataError(f"{table} has the column {twice[0]} {header.count(twice[0])} times; keep one of them")
    for line, fields in records:
        if any(field.strip() for field in fields[len(header) :]):
            raise DataError(
                f"{table}, line {line}: {len(fields)} fields, expected {len(header)}; put a field with {delimiter!r} "
                "in it into quotes"
            )
        if any(field.strip() for field in fields):
            yield line, dict.fromkeys(COLUMNS, "") | dict(zip(header, fields, strict=False))


def _records(table: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (last line, fields) of each record of the table's text.

    The end is marked, since a quote that nothing closes takes in all that follows, and Python's reader says nothing.
    """
    reader = csv.reader(io.StringIO(f"{text}\n{_END}", newline=""), delimiter=delimiter, skipinitialspace=True)
    begins = 1
    try:
        for fields in reader:
            if fields == [_END]:
                return
            if _END in "".join(fields):
                raise DataError(
                    f"{table}, line {begins}: a quote opens a field that nothing closes; close it or take it out"
                )
            yield reader.line_num, fields
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{table}, line {reader.line_num}: {error}") from error


def _head(path: Path) -> tuple[str, str]:
    """Return what may separate columns, first the mark that the table itself names, and the line with their names."""
    try:
        # Whether the rest is UTF-8 matters only of a table of ours.
        with path.open(encoding=encoding_of(path), errors="replace") as file:
            line = file.readline(_HEADER_LENGTH)
            if said := SEPARATOR_LINE.fullmatch(line):
                return said[1] + _MARKS, file.readline(_HEADER_LENGTH)
            return _MARKS, line
    except OSError as error:
        raise DataError(f"table {path} cannot be read: {error}") from error


def _delimiter(path: Path) -> str | None:
    """Return what separates the columns, None if they are not ours."""
    marks, line = _head(path)
    return next((mark for mark in marks if not _lacking(set(_header(line, mark)))), None)


def _likeliest_header(path: Path) -> list[str]:
    marks, line = _head(path)
    return _header(line, max(marks, key=line.count))


def _header(line: str, delimiter: str) -> list[str]:
    try:
        return [
            name.strip().lower() for name in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), ())
        ]
    except csv.Error:
        return []


def _lacking(found: set[str]) -> list[str]:
    return [name for name in COLUMNS if name not in found]


def _image(row: dict[str, str], root: Path, where: str) -> tuple[str, Split]:
    text = row["path"].replace("\\", "/")
    if len(text) > _LONGEST_PATH:
        raise DataError(f"{where}: a path of {len(text):,} characters, {reprlib.repr(text)}; no system has such files")
    # A name may begin or end with a space; more often a spreadsheet's column does. macOS writes é as two characters.
    likely = (text, text.strip(), *(normalize(form, text.strip()) for form in ("NFC", "NFD")))
    path = PurePosixPath(next((one for one in likely if stays_inside(one) and is_there(root / one)), text.strip()))
    if not stays_inside(str(path)):
        raise DataError(f"{where}: path {row['path']!r} must be relative to {root} and stay inside")
    if path.suffix.lower() in UNREAD_SUFFIXES:
        raise DataError(f"{where}: image {str(path)!r} is in {UNREAD}")
    if not is_there(root / path):
        raise DataError(f"{where}: image {str(path)!r} does not exist in {root}")
    split = next((name for name in SPLITS if name == row["split"].strip().lower()), None)
    if split is None:
        raise DataError(f"{where}: split {row['split']!r}, expected one of {', '.join(SPLITS)}")
    return str(path), split


def _require_agreement(images: Sequence[FoundImage], wheres: Sequence[str]) -> None:
    """Raise where an image that is listed twice has two pids or camids: a query would find itself as somebody else."""
    first: dict[str, tuple[FoundImage, str]] = {}
    for image, where in zip(images, wheres, strict=True):
        # No ranking counts junk, whatever the same image is elsewhere.
        if image.pid == JUNK_PID:
            continue
        other, above = first.setdefault(image.path, (image, where))
        if (image.pid, image.camid) != (other.pid, other.camid):
            what = "pid" if image.pid != other.pid else "camid"
            raise DataError(f"{where}: image {image.path!r} has another {what} than in {above}; give it only one")


CSV = TableLayout()
