"""Reading a finished store; anything unfinished, damaged or foreign is a StoreError."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from pirt.errors import ParamsError, StoreError
from pirt.files import sha256_of
from pirt.heatmaps.codec import Codes, code_dtype, decode
from pirt.heatmaps.schema import (
    ATTRIBUTES,
    HEATMAPS,
    KEYS,
    METADATA,
    SCORES,
    SEAL,
    Layout,
    SkippedImage,
    StoreAttributes,
    decode_keys,
)
from pirt.params import checked

Rows = slice | Sequence[int] | NDArray[np.integer[Any]]


@dataclass(frozen=True)
class HeatmapStore:
    """An open store of N images; reading checks the CRC of every byte that it uses. Picklable."""

    path: Path
    layout: Layout
    keys: tuple[str, ...]
    seal: str | None
    """SHA-256 of the contents, as recorded on finishing; None while the store is unfinished."""
    arrays: dict[str, zarr.Array[Any]]

    @property
    def attributes(self) -> StoreAttributes:
        """What made the store."""
        return self.layout.attributes

    @property
    def skipped(self) -> tuple[SkippedImage, ...]:
        """The images that could not be read; their heatmaps and scores are zero."""
        return self.attributes.skipped

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the root metadata, which holds that of the contents: `sha256sum STORE/zarr.json`."""
        return sha256_of(self.path / METADATA)

    @cached_property
    def scores(self) -> NDArray[np.float32]:
        """Each keypoint's highest value, N×K in [0, 1], taken before encoding."""
        return np.concatenate([self.read_shard_scores(shard) for shard in range(self.layout.shards)])

    def read(self, rows: Rows) -> NDArray[np.float32]:
        """Return the heatmaps of `rows` (a slice or indices), n×K×Hm×Wm in [0, 1]."""
        return decode(self.read_codes(rows), self.attributes.codec, self.attributes.tau)

    def read_codes(self, rows: Rows) -> Codes:
        """Return the codes of `rows` (a slice or indices), n×K×Hm×Wm."""
        indices = np.arange(self.layout.count)[rows]
        codes = np.empty((len(indices), *self.layout.image_shape), code_dtype(self.attributes.codec))
        shards = indices // self.layout.shard_size
        for shard in np.unique(shards).tolist():
            codes[shards == shard] = self._read(HEATMAPS, shard, indices[shards == shard])
        return codes

    def read_shard(self, shard: int) -> Codes:
        """Return the codes of one shard, n×K×Hm×Wm."""
        return self._read(HEATMAPS, shard, _whole(self.layout.rows(shard)))

    def read_shard_scores(self, shard: int) -> NDArray[np.float32]:
        """Return the scores of one shard, n×K."""
        return self._read(SCORES, shard, _whole(self.layout.rows(shard)))

    def _read(self, name: str, shard: int, rows: slice | NDArray[np.int64]) -> NDArray[Any]:
        file = self.path / self.layout.files(shard)[name == SCORES]
        # zarr fills in zeros for a file that is missing or empty.
        if not file.is_file() or file.stat().st_size == 0:
            raise StoreError(f"{file} is missing or empty; {_MEND}")
        try:
            return np.asarray(self.arrays[name].oindex[rows])
        except (ValueError, RuntimeError, OSError) as error:
            raise StoreError(f"{file} is damaged ({' '.join(str(error).split())}); {_MEND}") from error


_MEND = "restore the store from its cache or make it anew with `pirt-pose extract --restart`"


def open_store(path: Path) -> HeatmapStore:
    """Open the finished heatmap store at `path` for reading."""
    if not path.is_dir():
        unfinished = partial_path(path).is_dir()
        mend = "is unfinished: run the same `pirt-pose extract` again" if unfinished else "does not exist"
        raise StoreError(f"heatmap store {path} {mend}; stores are made by `pirt-pose extract`")
    store = open_unsealed(path)
    if store.seal is None:
        raise StoreError(f"{path} is an unfinished heatmap store; run the same `pirt-pose extract` again to finish it")
    return store


def open_unsealed(path: Path) -> HeatmapStore:
    """Open a store of which shards may still be missing."""
    attributes, seal = _root(path)
    try:
        root = zarr.open_group(LocalStore(path, read_only=True), mode="r", zarr_format=3)
        arrays = {name: _array(root, name) for name in (HEATMAPS, SCORES, KEYS)}
        keys = decode_keys(np.asarray(arrays[KEYS][...]))
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        raise StoreError(f"{path} is a damaged heatmap store ({' '.join(str(error).split())}); {_MEND}") from error
    layout = Layout(attributes, len(keys), (arrays[HEATMAPS].shards or arrays[HEATMAPS].chunks)[0])
    _require_fitting(path, layout, arrays)
    return HeatmapStore(path, layout, keys, seal, arrays)


def partial_path(path: Path) -> Path:
    """Return the folder in which the unfinished store of `path` lies."""
    return path.with_name(f"{path.name}.partial")


def _whole(rows: range) -> slice:
    return slice(rows.start, rows.stop)


def _root(path: Path) -> tuple[StoreAttributes, str | None]:
    try:
        table = json.loads((path / METADATA).read_bytes())["attributes"]
        return checked(StoreAttributes, table[ATTRIBUTES], str(path)), table.get(SEAL)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error) if isinstance(error, ParamsError) else f"no {ATTRIBUTES!r} in its {METADATA}"
        raise StoreError(f"{path} is not a heatmap store of this version: {reason}") from error


def _array(root: zarr.Group, name: str) -> zarr.Array[Any]:
    array = root[name]
    if not isinstance(array, zarr.Array):
        raise ValueError(f"{name} is not an array")
    return array


def _require_fitting(path: Path, layout: Layout, arrays: dict[str, zarr.Array[Any]]) -> None:
    shape = (layout.count, *layout.image_shape)
    expected = {HEATMAPS: (shape, code_dtype(layout.attributes.codec)), SCORES: (shape[:2], np.dtype(np.float32))}
    for name, what in expected.items():
        if (found := (arrays[name].shape, arrays[name].dtype)) != what:
            raise StoreError(f"{path}: array {name!r} has shape and type {found}, its attributes say {what}; {_MEND}")
