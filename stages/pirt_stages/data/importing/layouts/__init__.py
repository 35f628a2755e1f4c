"""Every layout that can be imported."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from pirt.core.errors import DataError
from pirt.core.manifest import Split
from pirt_stages.data.importing.layouts.body_images import (
    OCCLUDED_REID,
    P_DUKEMTMC_REID,
    PARTIAL_ILIDS,
    PARTIAL_REID,
    BodyImagesLayout,
)
from pirt_stages.data.importing.layouts.found import Layout, subfolders, unread_in
from pirt_stages.data.importing.layouts.market import (
    CUHK03_NP,
    DUKEMTMC_REID,
    MARKET1501,
    OCCLUDED_DUKEMTMC,
    MarketLayout,
)
from pirt_stages.data.importing.layouts.msmt17 import MSMT17, MSMT17Layout
from pirt_stages.data.importing.layouts.person_folders import (
    PERSON_FOLDERS,
    PersonFoldersLayout,
    Shares,
    levels_named,
)
from pirt_stages.data.importing.layouts.plain import FOLDER, PlainLayout
from pirt_stages.data.importing.layouts.table import CSV, TABLE_SUFFIXES

LAYOUTS: tuple[Layout, ...] = (
    CSV,
    MARKET1501,
    DUKEMTMC_REID,
    OCCLUDED_DUKEMTMC,
    CUHK03_NP,
    MSMT17,
    P_DUKEMTMC_REID,
    OCCLUDED_REID,
    PARTIAL_REID,
    PARTIAL_ILIDS,
    PERSON_FOLDERS,
    FOLDER,
)
_ON_REQUEST = (PERSON_FOLDERS, FOLDER)
"""Only on request, since nearly every folder of images would be recognised as one of these."""
_DEPTH = 3
"""Levels of folders that are searched: published zips nest their data one or two deep."""


@dataclass(frozen=True)
class Choice:
    """What was asked of an import; None and False leave it to the data set."""

    layout: str | None = None
    """The name of the one to admit."""
    with_val: bool = False
    """MSMT17's validation list joins training."""
    probe: str | None = None
    """Which folder holds the queries, of `PROBES`."""
    split: Split | None = None
    """What images without labels are."""
    levels: str | None = None
    """What folders of persons stand for."""
    shares: Shares | None = None
    """How folders of persons are split."""
    pids_from_zero: bool = False
    """Pid 0 is a person and not a distractor."""


LOOK = Choice()


def layouts_named(name: str | None) -> tuple[Layout, ...]:
    """Return those to look for, or the one of this name, which is then recognised whatever the folder's own name is."""
    if name is None:
        return tuple(layout for layout in LAYOUTS if layout not in _ON_REQUEST)
    return tuple(
        replace(layout, occluded=None) if isinstance(layout, MarketLayout) else layout
        for layout in LAYOUTS
        if layout.name == name
    )


def as_chosen(layout: Layout, choice: Choice, root: Path) -> Layout:
    """Return `layout` with the options of `choice`; one that only another layout has is a DataError."""
    told = {
        "--with-val": (choice.with_val, MSMT17Layout, "MSMT17"),
        "--probe": (choice.probe, BodyImagesLayout, "Partial-REID and the like"),
        "--split": (choice.split, PlainLayout, "--layout folder"),
        "--levels": (choice.levels, PersonFoldersLayout, "--layout person-folders"),
        "--split-seed and shares": (choice.shares, PersonFoldersLayout, "--layout person-folders"),
    }
    for option, (value, kind, whose) in told.items():
        if value and not isinstance(layout, kind):
            raise DataError(f"{option} is for {whose}, but {root} is {layout.title}")
    if choice.pids_from_zero and isinstance(layout, (MSMT17Layout, PersonFoldersLayout, PlainLayout)):
        raise DataError(f"--pids-from-zero is for numbers of the data set's own, but {layout.title} is numbered here")
    match layout:
        case MSMT17Layout():
            return replace(layout, with_val=choice.with_val)
        case BodyImagesLayout():
            return replace(layout, probe=choice.probe)
        case PlainLayout():
            return replace(layout, split=choice.split or layout.split)
        case PersonFoldersLayout():
            levels = None if choice.levels is None else levels_named(choice.levels)
            return replace(layout, levels=levels, shares=choice.shares or layout.shares)
    return layout


def find_data_set(root: Path, layouts: tuple[Layout, ...]) -> tuple[Path, Layout]:
    """Return the data root at or below `root`, and which of `layouts` it has."""
    if root.is_file() and root.suffix.lower() in TABLE_SUFFIXES:
        if CSV not in layouts:
            raise DataError(f"{root} is a table, which --layout {layouts[0].name} does not read; leave out --layout")
        return root.parent, replace(CSV, table=root.name)
    if not root.is_dir():
        expected = _expected(layouts) if len(layouts) == 1 else "a data set"
        raise DataError(f"data root {root} is not a folder, table, zip or tar; expected {expected}")
    level, near = [root], list[str]()
    for _ in range(_DEPTH):
        found = [(folder, layout) for folder in level for layout in _recognised(folder, layouts)]
        # All of a level are looked at: of two, the first would be imported without a word.
        if len(found) > 1:
            listed = " and ".join(f"{layout.title} in {folder}" for folder, layout in found[:2])
            raise DataError(f"{root} holds several data sets, {listed}; pass the folder of one, or --layout")
        if found:
            return found[0]
        near += [f"{folder} has {said}" for folder in level for layout in layouts if (said := layout.nearly(folder))]
        # Each folder once, though links may lead to it too.
        below = {child.resolve(): child for folder in level for child in subfolders(folder)}.values()
        level = [child for child in below if os.access(child, os.R_OK | os.X_OK)]
        # Such as lost+found, which must not hide what lies beside it.
        near += [f"{child} cannot be listed" for child in below if child not in level]
    unread = unread_in(root)
    if near:
        raise DataError(f"no data set found in {root}{unread}: {'; '.join(near[:3])}")
    expected = _expected((*layouts, *_ON_REQUEST) if len(layouts) > 1 else layouts)
    raise DataError(f"no data set found in {root}{unread}; expected {expected}")


def _recognised(folder: Path, layouts: tuple[Layout, ...]) -> list[Layout]:
    """Return the layouts that `folder` has; an own table wins, since nobody puts it there by accident."""
    found = [layout for layout in layouts if layout.recognises(folder)]
    return [CSV] if CSV in found else found


def _expected(layouts: tuple[Layout, ...]) -> str:
    """Say what each kind of layout looks like, those that look alike together."""
    titles: dict[str, list[str]] = {}
    for layout in layouts:
        asked = f" with --layout {layout.name}" if layout in _ON_REQUEST else ""
        titles.setdefault(layout.signs, []).append(layout.title + asked)
    return "; ".join(f"{', '.join(names)} ({signs})" for signs, names in titles.items())
