"""Stores of which one file is another valid store's, as an interrupted copy leaves them."""

import shutil
from collections.abc import Callable
from pathlib import Path

SWAPPED = "heatmaps/c.0.0.0.0"


def with_foreign_shard(write: Callable[[Path, int], Path], folder: Path) -> Path:
    """Return a store whose first shard is that of another store for the same images; `write(path, seed)` makes both."""
    ours, theirs = write(folder / "ours.zarr", 1), write(folder / "theirs.zarr", 2)
    shutil.copyfile(theirs / SWAPPED, ours / SWAPPED)
    return ours
