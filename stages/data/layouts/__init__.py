"""Every layout that can be imported, tried in this order."""

from pathlib import Path

from pirt.errors import DataError
from stages.data.layouts.found import Layout, subfolders
from stages.data.layouts.market import DUKEMTMC_REID, MARKET1501, OCCLUDED_DUKEMTMC

LAYOUTS: tuple[Layout, ...] = (MARKET1501, DUKEMTMC_REID, OCCLUDED_DUKEMTMC)
_DEPTH = 3


def find_data_set(root: Path, name: str | None = None) -> tuple[Path, Layout]:
    """Return the data root at or below `root`, and its layout; `name` admits one layout only."""
    if not root.is_dir():
        raise DataError(f"data root {root} is not a folder, zip or tar; pass where the data set lies")
    layouts = [layout for layout in LAYOUTS if name in (None, layout.name)]
    level = [root]
    for _ in range(_DEPTH):
        found = [(folder, layout) for folder in level for layout in layouts if layout.recognises(folder)]
        if len(found) > 1:
            listed = " and ".join(f"{layout.title} in {folder}" for folder, layout in found)
            raise DataError(f"{root} holds two data sets, {listed}; pass the folder of one, or --layout")
        if found:
            return found[0]
        level = [child for folder in level for child in subfolders(folder)]
    expected = "; ".join(f"{layout.title}: {layout.signs}" for layout in layouts)
    raise DataError(f"no data set found in {root}, looked for {expected}")
