"""A manifest read the plain way, whole and row by row: what the columnar reader must equal, messages included."""

import csv
import io
import re
import reprlib
from pathlib import Path

from pirt.core.errors import ManifestError
from pirt.core.files import stays_inside
from pirt.core.manifest import COLUMNS, SPLITS, ImageRow

LINE_ENDS = re.compile(r"[\0\r\n]")


def marked(text: str, mark: str, delimiter: str) -> tuple[str | None, str]:
    line, _, below = text.partition("\n")
    line = line.removesuffix("\r").removesuffix(delimiter * (len(COLUMNS) - 1))
    if line.startswith('"') and line.endswith('"'):
        line = line[1:-1].replace('""', '"')
    return (line.removeprefix(mark), below) if line.startswith(mark) else (None, text)


def parsed(fields: list[str], where: str) -> ImageRow:
    if len(fields) != len(COLUMNS):
        raise ManifestError(f"{where}: {len(fields)} fields, expected {len(COLUMNS)}: {', '.join(COLUMNS)}")
    key, path, split, pid, camid, sha256 = fields
    if split not in SPLITS:
        raise ManifestError(f"{where}: split {split!r}, expected one of {', '.join(SPLITS)}")
    try:
        return ImageRow(key, path, split, int(pid), int(camid), sha256)
    except ValueError:
        raise ManifestError(f"{where}: pid {pid!r} and camid {camid!r} must be whole numbers") from None


def require_sound(rows: list[ImageRow], path: Path) -> None:
    if not rows:
        raise ManifestError(f"manifest {path} lists no image")
    seen: set[str] = set()
    for row in rows:
        if LINE_ENDS.search(row.path):
            raise ManifestError(
                f"manifest {path}: path {row.path!r} has a line break in it, which a manifest cannot hold; "
                "rename the file"
            )
        if not stays_inside(row.path):
            drive = ", as one that begins with a drive's letter does on Windows" if re.match("[^/]:", row.path) else ""
            raise ManifestError(
                f"manifest {path}: path {row.path!r} leaves the data root{drive}; use relative posix paths"
            )
        if not row.key or row.key in seen or LINE_ENDS.search(row.key):
            raise ManifestError(
                f"manifest {path}: key {row.key!r} is empty, appears twice or has a line break; keys must be unique"
            )
        seen.add(row.key)
        if not -1 <= row.pid < 2**63 or abs(row.camid) >= 2**63:
            raise ManifestError(
                f"manifest {path}: {row.key!r} has pid {row.pid} and camid {row.camid}; expected 64-bit numbers and "
                "a pid of -1 (junk), 0 (distractor) or above (an identity)"
            )


def rows_of(path: Path) -> list[ImageRow]:
    """Return the rows of the manifest at `path`, or raise as `read_manifest` does."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"manifest {path} cannot be read as UTF-8 text: {error}") from error
    header = next((line for line in text.split("\n", 3) if not line.startswith(("#", '"#'))), "")
    delimiter = max(",;\t", key=header.count)
    rest = marked(marked(text, "# root: ", delimiter)[1], "# stand-in", delimiter)[1]
    try:
        table = list(csv.reader(io.StringIO(rest, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ManifestError(f"manifest {path} is not a CSV file: {error}") from error
    names = tuple(name.strip().lower() for name in table[0]) if table else ()
    if names != COLUMNS:
        fix = "keep only these, in this order" if set(COLUMNS) <= set(names) else "make one with `pirt-data import`"
        raise ManifestError(f"manifest {path} has columns {reprlib.repr(names)}, expected {COLUMNS}; {fix}")
    rows = [parsed(fields, f"{path}, row {number}") for number, fields in enumerate(table[1:], 1) if any(fields)]
    require_sound(rows, path)
    return rows


def csv_of(rows: list[ImageRow]) -> str:
    """Return rows as a manifest holds them, below its first lines."""
    text = io.StringIO()
    table = [(row.key, row.path, row.split, row.pid, row.camid, row.sha256) for row in rows]
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *table])
    return text.getvalue()
