"""The mark by which a stand-in of a published data set is known."""

import json
from pathlib import Path

from pirt.core.texts import json_in

MAKER, MARK = "pirt-data standin", "STANDIN.json"


def as_mark(*, standin: str, size: str, one_pixel: bool, seed: int) -> bytes:
    """Return what the mark of a stand-in holds; readers only look at its maker."""
    mark = {"maker": MAKER, "standin": standin, "size": size, "one_pixel": one_pixel, "seed": seed}
    return (json.dumps(mark) + "\n").encode()


def mark_of(root: Path, parent: Path | None = None) -> Path | None:
    """Return the mark of the stand-in whose data root is `root`, or is to lie in `parent`, None of other data."""
    return next((mark for mark in (root / MARK, (parent or root.parent) / MARK) if maker_of(mark) == MAKER), None)


def maker_of(mark: Path) -> object:
    """Return what program the file `mark` says wrote the folder, None if it says nothing."""
    try:
        return json_in(mark)["maker"] if mark.is_file() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
