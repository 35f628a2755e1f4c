"""Which folders a program may replace."""

from pathlib import Path

from pirt.core.errors import DataError
from pirt.core.files import is_free


def refuse_unless_made_by(out: Path, found: object, maker: str) -> None:
    """Raise unless `out` is free, an empty folder, or `found` says that `maker` made it."""
    if found == maker or is_free(out):
        return
    raise DataError(f"{out} exists and was not made by `{maker}`; choose another --out, or replace it with --force")
