"""The names behind the numbers of a manifest: `<manifest>.names.csv`, written where persons or cameras have names."""

import csv
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pirt.core.errors import DataError
from pirt.core.files import written_whole
from pirt.core.manifest import is_manifest
from pirt.core.texts import encoding_of, plain_cell

COLUMNS = ("kind", "number", "name")


def names_file(manifest: Path) -> Path:
    """Return where the names of the persons and cameras of `manifest` lie; data.csv and data.tsv have their own."""
    return manifest.with_name(f"{manifest.name.removesuffix('.csv')}.names.csv")


def require_place(manifest: Path) -> None:
    """Raise DataError when something else lies where `manifest`, or the list of its names, would."""
    if manifest.is_file() and manifest.stat().st_size and not is_manifest(manifest):
        raise DataError(f"{manifest} is not a manifest and would be replaced; name another file")
    path = names_file(manifest)
    if path.exists() and not _is_ours(path):
        raise DataError(f"{path} is not a list of names and would be replaced; give the manifest another name")


@contextmanager
def keep_names(manifest: Path, names: Mapping[str, Mapping[int, str]]) -> Iterator[None]:
    """Write the names by kind and number beside `manifest`; without names, remove those of an earlier import.

    The earlier ones stay until the block, which writes the manifest, ends well.
    """
    path = names_file(manifest)
    if not names:
        yield
        path.unlink(missing_ok=True)
        return
    with written_whole(path) as beside:
        with beside.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(COLUMNS)
            for kind, of_kind in names.items():
                table.writerows((kind, number, plain_cell(name)) for number, name in sorted(of_kind.items()))
        yield


def _is_ours(path: Path) -> bool:
    """Tell a list of names by its header, also when a spreadsheet has saved it."""
    try:
        header = path.read_text(encoding=encoding_of(path)).partition("\n")[0]
    except (OSError, UnicodeError):
        return False
    return tuple(name.strip('" ') for name in re.split("[,;\t]", header)) == COLUMNS
