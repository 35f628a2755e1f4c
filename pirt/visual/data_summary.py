"""What a benchmark consists of, beside the pictures of it: counts, cameras, and which parts its people show."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pirt.core.errors import ReportError
from pirt.core.files import pass_on_refusal
from pirt.core.manifest import SPLITS, ImageRow, Split
from pirt.core.params import Fraction, Frozen
from pirt.core.pids import DISTRACTOR_PID, JUNK_PID
from pirt.core.texts import MEBIBYTE, bytes_within
from pirt.models.part_groups import VISIBLE_FROM, NamedGroups, visible_groups

SUMMARY_FILE = "data.json"


class SplitSummary(Frozen):
    """One split; persons are those with a pid over 0."""

    split: Split
    images: int
    junk: int
    distractors: int
    unreadable: int
    """In stage 1."""
    identities: int
    images_an_identity: tuple[int, float, int] | None
    """Fewest, mean and most; None without identities."""
    cameras: int
    visible: dict[str, Fraction]
    """Share of the readable images in which each part can be seen; empty without such images."""


class DataSummary(Frozen):
    """All splits that the manifest has."""

    format_version: Literal[1] = 1
    visible_from: float = VISIBLE_FROM
    splits: tuple[SplitSummary, ...]


def summarise_data(
    rows: Sequence[ImageRow], scores: NDArray[np.float32], skipped: Collection[str], groups: NamedGroups
) -> DataSummary:
    """Count n images, and tell in which share of them each part of `groups` is visible.

    `scores`: n×K, each heatmap's highest value; `skipped` are the keys of images that stage 1 could not read.
    """
    seen = visible_groups(scores, groups)
    places = {split: [place for place, row in enumerate(rows) if row.split == split] for split in SPLITS}
    found = {split: [rows[place] for place in of] for split, of in places.items() if of}
    return DataSummary(
        splits=tuple(_split(split, of, seen[places[split]], skipped, groups) for split, of in found.items())
    )


def _split(
    split: Split, rows: Sequence[ImageRow], seen: NDArray[np.bool_], skipped: Collection[str], groups: NamedGroups
) -> SplitSummary:
    # A skipped image has heatmaps of zeros, which would count as a person without any part.
    seen = seen[[row.key not in skipped for row in rows]]
    images = Counter(row.pid for row in rows if row.pid > DISTRACTOR_PID)
    each = sorted(images.values())
    return SplitSummary(
        split=split,
        images=len(rows),
        junk=sum(row.pid == JUNK_PID for row in rows),
        distractors=sum(row.pid == DISTRACTOR_PID for row in rows),
        unreadable=len(rows) - len(seen),
        identities=len(images),
        images_an_identity=(each[0], sum(each) / len(each), each[-1]) if each else None,
        cameras=len({row.camid for row in rows}),
        visible={name: float(of.mean()) for (name, _), of in zip(groups, seen.T, strict=True)} if len(seen) else {},
    )


def write_summary(summary: DataSummary, folder: Path) -> None:
    """Write `data.json` into a folder that is being written whole."""
    (folder / SUMMARY_FILE).write_text(summary.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_summary(path: Path) -> DataSummary:
    """Read a `data.json`; a damaged one is a ReportError."""
    try:
        return DataSummary.model_validate_json(bytes_within(path, MEBIBYTE))
    except (OSError, ValueError) as error:
        pass_on_refusal(error)
        raise ReportError(
            f"{path} is not a data summary of this version; make it again with `pirt-report figures`"
        ) from error
