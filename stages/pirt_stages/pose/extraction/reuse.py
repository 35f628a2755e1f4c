"""Rows that a new store takes from an earlier one instead of computing them again, to the same bytes.

A row's bytes are decided by the image's file, by what `StoreAttributes.of_a_row` names, and in its last bits by how
many images the network saw at once. So a row is taken where all three are equal; which other images were in the batch,
and where in it the image stood, changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pirt.core.errors import StoreError
from pirt.core.files import pass_on_refusal
from pirt.core.manifest import ImageRow
from pirt.heatmaps.codec import Codes
from pirt.heatmaps.reader import HeatmapStore, is_store, open_store
from pirt.heatmaps.schema import ShardLayout, StoreAttributes
from pirt.progress import note


@dataclass(frozen=True)
class Taken:
    """What a new store takes from `store`: `rows` maps a row of the new one to a row of the earlier one."""

    store: HeatmapStore | None = None
    rows: Mapping[int, int] = field(default_factory=dict)

    def part(self, rows: range) -> "Taken":
        """Return what is taken of some rows, small enough to travel however large the stores are."""
        chosen = {row: self.rows[row] for row in rows if row in self.rows}
        return Taken(self.store and replace(self.store, keys=(), sha256=None), chosen) if chosen else Taken()

    def left_of(self, rows: Sequence[int]) -> list[int]:
        """Return those of `rows` that are to be computed."""
        return [row for row in rows if row not in self.rows]

    def read(self, rows: Sequence[int]) -> tuple[Codes, NDArray[np.float32]]:
        """Return the codes n×K×Hm×Wm and scores n×K of `rows`, all of which are taken."""
        assert self.store is not None
        places = np.array([self.rows[row] for row in rows], dtype=np.int64)
        return self.store.read_codes(places), self.store.read_scores(places)


def open_reusable(path: Path, attributes: StoreAttributes) -> HeatmapStore:
    """Open the store at `path` to take rows for one with `attributes`; StoreError where none can be taken."""
    store = open_store(path)
    if reason := _unusable(store, attributes):
        raise StoreError(
            f"no row can be taken from heatmap store {path}: {reason}; leave --reuse out, or name another store"
        )
    return store


def reusable_of_replaced(path: Path, attributes: StoreAttributes) -> HeatmapStore | None:
    """Open the store that is to be replaced if rows can be taken from it; else say why not."""
    if not is_store(path):
        return None
    try:
        store = open_store(path)
        reason = _unusable(store, attributes)
    except StoreError as error:
        # What the system refuses to read may be whole, and hours of work.
        pass_on_refusal(error.__cause__ or error)
        reason = str(error)
    if reason is None:
        return store
    note(f"all rows are computed, none is taken from {path}: {reason}")
    return None


def _unusable(store: HeatmapStore, attributes: StoreAttributes) -> str | None:
    """Say why the rows of `store` are not those that would be computed; None if they are."""
    if store.sha256 is None:
        return "it was written by an older version, which did not record the SHA-256 of its images"
    there, wanted = store.attributes.of_a_row(), attributes.of_a_row()
    if other := [name for name, value in wanted.items() if there[name] != value]:
        return f"its {other[0]} is {there[other[0]]!r} and not {wanted[other[0]]!r}"
    # Every byte, so that no damage is passed on.
    return None if _is_whole(store) else "its files are not those that were sealed (SHA-256)"


def taken_from(store: HeatmapStore | None, images: Sequence[ImageRow], layout: ShardLayout) -> Taken:
    """Find the rows of `images`, to be stored as `layout` says, that `store` has with the same bytes."""
    if store is None:
        return Taken()
    there: dict[tuple[str, int], int] = {}
    hashes = store.sha256 or ()
    for row, length in _batch_lengths(store.layout).items():
        if row not in store.skipped_rows:
            there.setdefault((hashes[row], length), row)
    # A skipped image's row is zero, whatever an earlier store holds of the same file.
    skipped = {image.key for image in layout.attributes.skipped}
    lengths = _batch_lengths(layout)
    wanted = {row: (image.sha256, lengths[row]) for row, image in enumerate(images) if image.key not in skipped}
    return Taken(store, {row: there[image] for row, image in wanted.items() if image in there})


def _batch_lengths(layout: ShardLayout) -> dict[int, int]:
    """Return, for each row, how many images the network sees at once."""
    return {row: len(batch) for shard in range(layout.shards) for batch in layout.batches(shard) for row in batch}


def _is_whole(store: HeatmapStore) -> bool:
    try:
        return store.is_as_sealed()
    except (FileNotFoundError, ValueError):
        return False
