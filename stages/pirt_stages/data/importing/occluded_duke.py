"""Recipe: DukeMTMC-reID and three name lists make Occluded-DukeMTMC, without a second copy of the images."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pirt.core.errors import DataError
from pirt.core.files import is_free, written_whole
from pirt.core.manifest import SPLITS, Split
from pirt.progress import progress_over
from pirt_stages.data.importing.layouts import find_data_set, layouts_named
from pirt_stages.data.importing.layouts.found import FoundImage, Reading, subfolders
from pirt_stages.data.importing.layouts.market import DUKE_NAME, DUKEMTMC_REID, FOLDERS
from pirt_stages.data.importing.layouts.msmt17 import lines_of
from pirt_stages.data.importing.names import require_place
from pirt_stages.data.importing.recipe import Imported, open_source, require_outside, require_persons, write_import

_TITLE = "Occluded-DukeMTMC"


@dataclass
class Split3:
    """The re-split images, and the names that did not fit."""

    images: list[FoundImage] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    moved: int = 0


def occluded_duke(
    duke: Path,
    lists: Path,
    out: Path,
    copy_to: Path | None = None,
    unpack_to: Path | None = None,
    encoding: str | None = None,
    allow_missing: bool = False,
) -> Imported:
    """Write the manifest `out` of the re-split; with `copy_to` the images are copied into a folder of their own."""
    require_place(out)
    if copy_to is not None:
        require_outside(out, copy_to, "the copied images")
    with ExitStack() as files:
        opened = files.enter_context(open_source(duke, out, unpack_to, encoding))
        root, _ = find_data_set(opened.place, layouts_named(DUKEMTMC_REID.name))
        source = DUKEMTMC_REID.read(root)
        names = _read_lists(lists)
        split = _look_up(names, source.images)
        if split.missing and not allow_missing:
            raise DataError(
                f"{len(split.missing):,} names of the lists are not in {root}, the first is {split.missing[0]!r}; "
                "complete the data, or go on without them with --allow-missing"
            )
        remarks = [*_remarks(split, source), *opened.remarks]
        reading = Reading(split.images, source.passed_over, source.examples, remarks)
        reading.require(*SPLITS, root=root, title=_TITLE)
        require_persons(reading.images, root, "rename them, with persons numbered from 1")
        mark, lasting = opened.mark_of(root), opened.lasting(root)
        if copy_to is not None:
            root, lasting = files.enter_context(_copied(split.images, root, copy_to, mark)), copy_to
            reading.images[:] = [_in_own_folder(image) for image in split.images]
        manifest = write_import(out, reading, root, lasting, mark is not None, files)
    return Imported(_TITLE, manifest, reading)


def _read_lists(folder: Path) -> dict[Split, list[str]]:
    """Read `<split>.list` of every split; they may lie in a folder below."""
    folders = [folder, *subfolders(folder)] if folder.is_dir() else []
    place = next((place for place in folders if (place / "train.list").is_file()), None)
    if place is None:
        expected = ", ".join(f"{split}.list" for split in SPLITS)
        raise DataError(f"no name lists in {folder}; expected {expected}, with one file name per line")
    names = {split: lines_of(place / f"{split}.list") for split in SPLITS}
    for split, lines in names.items():
        for number, line in enumerate(lines, 1):
            # A name of this form stays inside its folder, whoever wrote the list.
            if not DUKE_NAME.fullmatch(line):
                raise DataError(
                    f"{place}/{split}.list, line {number}: {line!r} is not a name like 0001_c2_f0046182.jpg"
                )
        if len(set(lines)) < len(lines):
            twice = next(line for line in lines if lines.count(line) > 1)
            raise DataError(f"{place}/{split}.list names {twice!r} twice")
    return names


def _look_up(names: dict[Split, list[str]], images: list[FoundImage]) -> Split3:
    """Find each name in its own folder first, then in bounding_box_test."""
    result = Split3()
    # By its published place, however folders are capitalised or nested here.
    there = {_in_own_folder(image).path: image.path for image in images}
    for split, lines in names.items():
        for name in lines:
            places = [there.get(f"{folder}/{name}") for folder in (FOLDERS[split], FOLDERS["gallery"])]
            path = next(filter(None, places), None)
            match = DUKE_NAME.fullmatch(name)
            if path is None or match is None:
                result.missing.append(f"{split}.list: {name}")
                continue
            # A moved query stays in the gallery too. It has the same person and camera there, so the protocol drops it.
            result.moved += path != places[0]
            result.images.append(FoundImage(path, split, int(match[1]), int(match[2])))
    return result


def _remarks(split: Split3, source: Reading) -> list[str]:
    used = {image.path for image in split.images}
    unused = sum(image.path not in used for image in source.images)
    remarks = [f"{split.moved:,} images moved from bounding_box_test, {unused:,} images of DukeMTMC-reID in no list"]
    if split.missing:
        remarks.append(f"{len(split.missing):,} names without an image: {', '.join(split.missing[:3])}, …")
    return remarks


def _in_own_folder(image: FoundImage) -> FoundImage:
    name = image.path.rpartition("/")[2]
    return FoundImage(f"{FOLDERS[image.split]}/{name}", image.split, image.pid, image.camid)


@contextmanager
def _copied(images: list[FoundImage], root: Path, target: Path, mark: Path | None) -> Iterator[Path]:
    """Yield a folder that becomes `target` when the block ends well."""
    if not is_free(target):
        raise DataError(f"{target} exists and is not empty; name another folder with --copy-to")
    with written_whole(target) as beside:
        for image in progress_over(images, "copying", "image"):
            path = beside / _in_own_folder(image).path
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / image.path, path)
        if mark is not None:
            # A copy of a stand-in is one too.
            shutil.copyfile(mark, beside / mark.name)
        yield beside
