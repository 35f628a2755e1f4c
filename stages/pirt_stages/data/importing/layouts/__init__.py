"""Every layout that can be imported."""

from dataclasses import replace
from pathlib import Path

from pirt.core.errors import DataError
from pirt_stages.data.importing.layouts.body_images import OCCLUDED_REID, P_DUKEMTMC_REID, PARTIAL_ILIDS, PARTIAL_REID
from pirt_stages.data.importing.layouts.found import Layout, subfolders
from pirt_stages.data.importing.layouts.market import DUKEMTMC_REID, MARKET1501, OCCLUDED_DUKEMTMC, MarketLayout
from pirt_stages.data.importing.layouts.msmt17 import MSMT17
from pirt_stages.data.importing.layouts.plain import FOLDER
from pirt_stages.data.importing.layouts.table import CSV

LAYOUTS: tuple[Layout, ...] = (
    CSV,
    MARKET1501,
    DUKEMTMC_REID,
    OCCLUDED_DUKEMTMC,
    MSMT17,
    P_DUKEMTMC_REID,
    OCCLUDED_REID,
    PARTIAL_REID,
    PARTIAL_ILIDS,
    FOLDER,
)
_DEPTH = 3


def layouts_named(name: str | None) -> tuple[Layout, ...]:
    """Return those to look for, or the one of this name; a named one does not care what the folder is called."""
    if name is None:
        return tuple(layout for layout in LAYOUTS if layout is not FOLDER)
    return tuple(
        replace(layout, occluded=None) if isinstance(layout, MarketLayout) else layout
        for layout in LAYOUTS
        if layout.name == name
    )


def find_data_set(root: Path, layouts: tuple[Layout, ...]) -> tuple[Path, Layout]:
    """Return the data root at or below `root`, and which of `layouts` it has."""
    if root.is_file() and root.suffix.lower() == ".csv":
        return root.parent, replace(CSV, table=root.name)
    if not root.is_dir():
        expected = _expected(layouts) if len(layouts) == 1 else "a data set"
        raise DataError(f"data root {root} is not a folder, zip or tar; expected there: {expected}")
    level = [root]
    for _ in range(_DEPTH):
        found = [(folder, layout) for folder in level for layout in _recognised(folder, layouts)]
        if len(found) > 1:
            listed = " and ".join(f"{layout.title} in {folder}" for folder, layout in found[:2])
            raise DataError(f"{root} holds several data sets, {listed}; pass the folder of one, or --layout")
        if found:
            return found[0]
        level = [child for folder in level for child in subfolders(folder)]
    raise DataError(f"no data set found in {root}; expected {_expected(layouts)}")


def _recognised(folder: Path, layouts: tuple[Layout, ...]) -> list[Layout]:
    """Return the layouts that `folder` has; an own table wins, since nobody puts it there by accident."""
    found = [layout for layout in layouts if layout.recognises(folder)]
    return [CSV] if CSV in found else found


def _expected(layouts: tuple[Layout, ...]) -> str:
    """Say what each kind of layout looks like, those that look alike together."""
    titles: dict[str, list[str]] = {}
    for layout in layouts:
        titles.setdefault(layout.signs, []).append(layout.title)
    return "; ".join(f"{', '.join(names)} ({signs})" for signs, names in titles.items())
