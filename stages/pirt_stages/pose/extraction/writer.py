"""Writing a store shard by shard, so that a stop at any instant loses at most the shards in work.

An unfinished store is the folder `<path>.partial`; sealing renames it to `path`. A shard's files are written beside,
flushed to disk and renamed, heatmaps before scores: a shard is there exactly when both names are.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from pirt.core.errors import StoreError
from pirt.core.files import is_free, put_in_place, refuse_other_files, remove_left_over, written_whole
from pirt.core.manifest import ImageRow
from pirt.heatmaps.codec import Codes, encode
from pirt.heatmaps.reader import HeatmapStore, is_store, open_store, open_unsealed, partial_path
from pirt.heatmaps.schema import HEATMAPS, KEYS, METADATA, SCORES, SHA256, ShardLayout, StoreAttributes, root_metadata
from pirt_stages.pose.extraction.reuse import Taken

_BESIDE = ".writing"
_NOTHING = Taken()


@dataclass(frozen=True)
class StoreWriter:
    """Writes the shards of one store; picklable, and several processes may write different shards at once."""

    path: Path
    layout: ShardLayout
    skipped_rows: tuple[int, ...]
    beside: str = ""
    """Where in the unfinished store this writer's files become whole; a writer left over from before has another."""
    finished: bool = False
    """The store was already there, made with the same images, attributes and shard size."""

    def pending(self) -> tuple[int, ...]:
        """Return the shards that are not yet safely there."""
        if self.finished:
            return ()
        partial = partial_path(self.path)
        return tuple(
            shard
            for shard in range(self.layout.shards)
            if not all((partial / file).is_file() for file in self.layout.files(shard))
        )

    def rows(self, shard: int) -> range:
        """Return the rows of one shard; they index the keys."""
        return self.layout.rows(shard)

    def write(self, shard: int, heatmaps: NDArray[np.float32], taken: Taken = _NOTHING) -> None:
        """Write one shard whole: n×K×Hm×Wm raw network output, clipped to [0, 1] here, of the rows that are not taken.

        Rows of skipped images become zero whatever they hold; NaN in another row is a StoreError.
        """
        rows, made_by = self.rows(shard), self.layout.attributes
        fresh = taken.left_of(rows)
        values = self._checked(fresh, heatmaps)
        codes, scores = encode(values, made_by.codec, made_by.tau), values.max(axis=(2, 3))
        if len(fresh) < len(rows):
            codes, scores = self._with_taken(rows, fresh, (codes, scores), taken)
        contents = self.layout.shard_contents(codes, scores)
        with _reported(self.path):
            for file, content in zip(self.layout.files(shard), contents, strict=True):
                _put(partial_path(self.path), self.beside, file, content)

    def seal(self) -> Path:
        """Read every shard back, stamp the store with its contents' SHA-256 and rename it to `path`.

        Shards that read back damaged are dropped, so that a resumed run makes them anew.
        """
        if self.finished:
            return self.path
        if pending := self.pending():
            raise StoreError(f"{self.path}: {len(pending)} of {self.layout.shards} shards are still missing")
        partial = partial_path(self.path)
        self._drop_damaged(open_unsealed(partial))
        with _reported(self.path):
            seal = self.layout.seal_of(partial)
            _put(partial, self.beside, METADATA, root_metadata(self.layout.attributes, seal))
            shutil.rmtree(partial / self.beside)
            # Once more: something else may have come to this place since the store was begun.
            _require_stores(self.path)
            put_in_place(partial, self.path)
            _flush_folder(self.path.parent)
        return self.path

    def _with_taken(
        self, rows: range, fresh: Sequence[int], made: tuple[Codes, NDArray[np.float32]], taken: Taken
    ) -> tuple[Codes, NDArray[np.float32]]:
        """Return codes and scores of all `rows`: those `made` of the rows `fresh`, and the others as they are taken."""
        others = [row for row in rows if row in taken.rows]
        order = np.argsort([*fresh, *others])
        codes, scores = (np.concatenate(parts)[order] for parts in zip(made, taken.read(others), strict=True))
        return codes, scores

    def _checked(self, rows: Sequence[int], heatmaps: NDArray[np.float32]) -> NDArray[np.float32]:
        expected = (len(rows), *self.layout.image_shape)
        if heatmaps.shape != expected:
            raise StoreError(f"rows {rows} of {self.path} need heatmaps of shape {expected}, got {heatmaps.shape}")
        # The paper's heatmaps range from 0 to 1. The authors' program does not clip; no mask cell depends on it.
        values: NDArray[np.float32] = np.clip(heatmaps, 0, 1, dtype=np.float32)
        skipped = set(self.skipped_rows)
        values[[place for place, row in enumerate(rows) if row in skipped]] = 0
        # After clipping NaN is all that can be wrong, and max() passes it on.
        if (bad := np.isnan(values.max(axis=(1, 2, 3), initial=0))).any():
            raise StoreError(
                f"the network gave NaN for image {rows[int(bad.argmax())]} of the manifest (counted from 0); "
                f"check its weights or take a wider precision"
            )
        return values

    def _drop_damaged(self, store: HeatmapStore) -> None:
        damaged = []
        for shard in range(self.layout.shards):
            try:
                store.read_shard(shard)
                store.read_shard_scores(shard)
            except StoreError:
                # A refusal of the system, such as too many open files, is no StoreError: good shards stay.
                damaged.append(shard)
                for file in self.layout.files(shard):
                    (store.path / file).unlink(missing_ok=True)
        if damaged:
            raise StoreError(
                f"{self.path}: shards {damaged} read back damaged and were dropped; check the disk, then run the "
                f"same command to make them again"
            )


def create_store(
    path: Path, images: Sequence[ImageRow], attributes: StoreAttributes, shard_size: int, *, restart: bool = False
) -> StoreWriter:
    """Begin a store at `path`, or go on with its unfinished one.

    `images` are the manifest's, in order. What is there, finished or not, must have been made of the same images, with
    the same attributes and shard size, else it is a StoreError that names the first difference; `restart` discards an
    unfinished store and, on sealing, replaces a finished one, but nothing that is not a heatmap store.
    """
    if path.is_symlink():
        # The finished store is renamed to where the link leads, not over the link.
        path = path.resolve()
    layout = ShardLayout(attributes, len(images), shard_size)
    # Of this run alone: what a killed one still writes lands where nobody looks.
    beside = f"{_BESIDE}-{uuid4().hex}"
    row_of = {image.key: row for row, image in enumerate(images)}
    skipped_rows = tuple(row_of[image.key] for image in attributes.skipped)
    partial = partial_path(path)
    if restart:
        _require_stores(path, partial)
    with _reported(path):
        if path.parent.is_dir():
            remove_left_over(path)
        # What `restart` discards stays until all that the new store begins with is written.
        if partial.exists() and not restart:
            # Looked at before a finished store: beside one it belongs to a --restart that was stopped.
            _require_same(open_unsealed(partial), layout, images)
            for left in partial.glob(f"{_BESIDE}*"):
                shutil.rmtree(left, ignore_errors=True)
            (partial / beside).mkdir()
        elif path.exists() and not restart:
            _require_same(open_store(path), layout, images)
            return StoreWriter(path, layout, skipped_rows, finished=True)
        else:
            _begin(partial, beside, layout, images)
    return StoreWriter(path, layout, skipped_rows, beside)


def _require_stores(*paths: Path) -> None:
    """Refuse to delete what is not a heatmap store, and what somebody put into one."""
    for path in paths:
        if not is_store(path) and not is_free(path):
            raise StoreError(f"{path} is not a heatmap store and stays as it is; write to another --out or remove it")
        arrays = [f"{array}/{file}" for array in (HEATMAPS, SCORES, KEYS, SHA256) for file in (METADATA, "c.*")]
        refuse_other_files(path, {METADATA}, (*arrays, f"{_BESIDE}*/*"))


def _begin(partial: Path, place: str, layout: ShardLayout, images: Sequence[ImageRow]) -> None:
    # All at once: what a kill left without some of its metadata could not be gone on with.
    with written_whole(partial) as beside:
        (beside / place).mkdir(parents=True)
        for file, content in layout.metadata(images).items():
            (beside / file).parent.mkdir(exist_ok=True)
            _put(beside, place, file, content)


def _require_same(store: HeatmapStore, layout: ShardLayout, images: Sequence[ImageRow]) -> None:
    there, wanted = store.attributes.model_dump(), layout.attributes.model_dump()
    there |= {"shard_size": store.layout.shard_size, "keys": store.keys, "images": store.sha256}
    wanted |= {"shard_size": layout.shard_size, "keys": tuple(image.key for image in images)}
    wanted |= {"images": tuple(image.sha256 for image in images)}
    for name, value in wanted.items():
        if there[name] != value:
            # These lists are as long as the data set.
            said = "" if name in ("keys", "images", "skipped") else f" {there[name]!r} and not {value!r}"
            raise StoreError(
                f"{store.path} was made with other {name}{said}; pass --restart to make it again, delete it, or "
                f"write to another --out"
            )


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write heatmap store {path}: {error.strerror or error}; finished shards are kept, so fix this "
            f"(make room?) and run the same command again, without --restart"
        ) from error


def _put(folder: Path, place: str, file: str, content: bytes) -> None:
    beside = folder / place / uuid4().hex
    try:
        with beside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        # The name comes only when the content is on the disk, so a name stands for a whole file.
        beside.replace(folder / file)
    finally:
        beside.unlink(missing_ok=True)
    # The new name is on the disk only when its folder is.
    _flush_folder((folder / file).parent)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
