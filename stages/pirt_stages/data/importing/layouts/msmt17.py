"""MSMT17, both versions: lists of paths with labels."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pirt.core.errors import DataError
from pirt.core.files import stays_inside
from pirt.core.manifest import Split
from pirt_stages.data.importing.layouts.found import FoundImage, Reading, files_in, folder_named, is_there, refuse_alike
from pirt_stages.data.importing.texts import text_in

FOLDERS = (("train", "test"), ("mask_train_v2", "mask_test_v2"))
LISTS: tuple[tuple[Split, str], ...] = (
    ("train", "list_train.txt"),
    ("query", "list_query.txt"),
    ("gallery", "list_gallery.txt"),
)
VALIDATION = "list_val.txt"
_NUMBER = re.compile("[0-9]{1,9}")
# Above the labels of training, which has 1,041 persons.
TEST_PIDS = 10_000
"""Training and test people are both numbered from 0, and pid 0 means a distractor: see `MSMT17Layout.read`."""


@dataclass(frozen=True)
class MSMT17Layout:
    """Version 1 (train, test) or 2 (mask_train_v2, mask_test_v2); `with_val` adds the validation list to training."""

    name: str = "msmt17"
    title: str = "MSMT17"
    signs: str = "list_train.txt, list_query.txt, list_gallery.txt beside train and test (or mask_*_v2)"
    with_val: bool = False

    def recognises(self, root: Path) -> bool:
        """Say whether the lists and one version's folders are there."""
        lists = all((root / name).is_file() for _, name in LISTS)
        return lists and any(folder_named(root, name) for pair in FOLDERS for name in pair)

    def nearly(self, root: Path) -> str | None:
        """Say that lists or folders are missing."""
        there = [name for _, name in LISTS if (root / name).is_file()]
        if not there:
            return None
        missing = [name for _, name in LISTS if name not in there] or ["train, test or mask_train_v2, mask_test_v2"]
        return f"{', '.join(there)} as in {self.title}, but no {', '.join(missing)}"

    def read(self, root: Path) -> Reading:
        """List the images of the lists; pids are the training label + 1 and the test label + 1 + TEST_PIDS."""
        pair = next(pair for pair in FOLDERS if any(folder_named(root, name) for name in pair))
        refuse_alike(root, *pair)
        train, test = (name if (there := folder_named(root, name)) is None else there.name for name in pair)
        reading = Reading(remarks=[f"pids are training label + 1 and test label + {TEST_PIDS + 1}"])
        lists = [*LISTS]
        if self.with_val:
            lists.insert(1, ("train", VALIDATION))
        elif (root / VALIDATION).is_file():
            reading.remarks.append(f"{VALIDATION} is left out; --with-val adds it to training")
        for split, name in lists:
            folder, first = (train, 1) if split == "train" else (test, 1 + TEST_PIDS)
            reading.images.extend(_listed(root, name, folder, split, first))
        listed = {image.path for image in reading.images}
        with suppress(DataError, FileNotFoundError):  # it may be left out whatever is in it
            listed |= {f"{train}/{path}" for path, _ in map(_cut, lines_of(root / VALIDATION))}
        for folder in dict.fromkeys((train, test)):
            for relative, _ in files_in(root / folder, reading):
                if f"{folder}/{relative}" not in listed:
                    reading.pass_over("images in no list", f"{folder}/{relative}")
        return reading.require("train", "query", "gallery", root=root, title=self.title)


def _listed(root: Path, name: str, folder: str, split: Split, first: int) -> list[FoundImage]:
    """Read one list; lines are `0000/0000_000_01_0303morning_0008_0.jpg 0`, the camera is the name's third field."""
    images, missing = [], []
    for number, line in enumerate(lines_of(root / name), 1):
        parts, label = _cut(line)
        fields = parts.name.split("_")
        # A list may come from anybody, and must name nothing outside of the data set.
        if not stays_inside(str(parts)) or len(fields) < 3 or not all(map(_NUMBER.fullmatch, (label, fields[2]))):
            raise DataError(
                f"{root / name}, line {number}: {line!r}, expected '<folder>/<pid>_<n>_<camera>_….jpg <label>'"
            )
        found = FoundImage(f"{folder}/{parts}", split, int(label) + first, int(fields[2]))
        images.append(found)
        if not is_there(root / found.path):
            missing.append(found.path)
    if missing:
        raise DataError(f"{root}: {len(missing):,} images of {name} are missing, the first is {missing[0]!r}")
    return images


def _cut(line: str) -> tuple[PurePosixPath, str]:
    """Return the path and the label of a line."""
    path, _, label = line.replace("\\", "/").rpartition(" ")
    return PurePosixPath(path.strip()), label


def lines_of(path: Path) -> list[str]:
    """Return the lines of a text list that are not empty, whatever their line ends."""
    text = text_in(path, "list", "save it as UTF-8 with an editor")
    return [line.strip() for line in text.splitlines() if line.strip()]


MSMT17 = MSMT17Layout()
