"""Reading a finished store; anything unfinished, damaged or foreign is a StoreError."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore, MemoryStore

from pirt.core.errors import ParamsError, StoreError
from pirt.core.files import pass_on_refusal, reading, sha256_of
from pirt.core.manifest import ImageRow, Manifest
from pirt.core.params import checked
from pirt.core.sealed import without_seal
from pirt.core.texts import json_in
from pirt.heatmaps.codec import Codes, code_dtype, decode
from pirt.heatmaps.schema import (
    ATTRIBUTES,
    DIGESTS,
    HEATMAPS,
    KEYS,
    METADATA,
    SCORES,
    SEAL,
    SHA256,
    Seal,
    ShardLayout,
    SkippedImage,
    StoreAttributes,
    decode_texts,
)
from pirt.heatmaps.shards import Shard, content_of, read_shard_file

Indices = NDArray[np.int64]
Places = slice | Sequence[int] | Indices

_DIGESTS_SINCE = 3
_MOST_IMAGES, _LONGEST_KEY = 100_000_000, 1 << 16
_FIX = "restore the store or make it again with `pirt-pose extract --restart`"


@dataclass(frozen=True)
class HeatmapStore:
    """An open store of N images. Picklable.

    Reading checks the CRC of every byte that it uses, and that each file is the one that was sealed.
    """

    path: Path
    layout: ShardLayout
    keys: tuple[str, ...]
    sha256: tuple[str, ...] | None
    """Of each image's file; None in stores before version 3, which do not hold it."""
    seal: Seal | None
    """What was recorded of the contents on finishing; None while the store is unfinished."""
    scores_array: zarr.Array[Any]

    @property
    def attributes(self) -> StoreAttributes:
        """What made the store."""
        return self.layout.attributes

    @property
    def skipped(self) -> tuple[SkippedImage, ...]:
        """The images that could not be read; their heatmaps and scores are zero."""
        return self.attributes.skipped

    @cached_property
    def skipped_rows(self) -> frozenset[int]:
        """The rows of the skipped images."""
        skipped = {image.key for image in self.skipped}
        return frozenset(row for row, key in enumerate(self.keys) if key in skipped)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the root metadata, which holds that of the contents: `sha256sum STORE/zarr.json`."""
        return sha256_of(self.path / METADATA)

    @cached_property
    def scores(self) -> NDArray[np.float32]:
        """Each keypoint's highest value, N×K in [0, 1], taken before encoding."""
        return np.concatenate([self.read_shard_scores(shard) for shard in range(self.layout.shards)])

    def require_images(self, manifest: Manifest) -> None:
        """Raise StoreError unless the store has every image of `manifest`, in whatever order, split or name."""
        ours = self.attributes.manifest_fingerprint
        if self.sha256 is None and ours != manifest.fingerprint:
            raise StoreError(
                f"heatmap store {self.path} was made for another manifest (fingerprint {str(ours)[:12]}, this one is "
                f"{manifest.fingerprint[:12]}), by an older version, which did not record its images; pass that "
                "manifest, or run `pirt-pose extract` on this one"
            )
        self.indices_of(manifest.rows)

    def indices_of(self, images: Sequence[ImageRow]) -> Indices:
        """Return where n images stand in the store, found by their files' SHA-256; a StoreError where it lacks one."""
        found = [self._row_of(image) for image in images]
        if missing := [image for image, row in zip(images, found, strict=True) if row is None]:
            changed = ", which was another image when the store was made" if missing[0].key in self.keys else ""
            raise StoreError(
                f"heatmap store {self.path} lacks {len(missing)} of {len(images)} images, the first is "
                f"{missing[0].key!r}{changed}; run `pirt-pose extract` on this manifest, where --reuse takes over "
                "what the store has"
            )
        return np.array(found, dtype=np.int64)

    def _row_of(self, image: ImageRow) -> int | None:
        if self.sha256 is None:
            return self._place.get((image.key, ""))
        # Of several copies its own: what else is in a batch may decide a heatmap's last bit.
        return self._place.get((image.key, image.sha256), self._place.get(("", image.sha256)))

    @cached_property
    def _place(self) -> dict[tuple[str, str], int]:
        """Each row by key and SHA-256, and by SHA-256 alone, where one that was read goes before a skipped one."""
        hashes = self.sha256 or ("",) * len(self.keys)
        # Of rows with one SHA-256 the last that is written here stays: the first that was read. No key is empty.
        worst_first = sorted(range(len(self.keys)), key=lambda row: (row not in self.skipped_rows, -row))
        place = {("", hashes[row]): row for row in worst_first}
        return place | {(key, hashes[row]): row for row, key in enumerate(self.keys)}

    def read(self, rows: Places) -> NDArray[np.float32]:
        """Return the heatmaps of `rows` (a slice or indices), n×K×Hm×Wm in [0, 1]."""
        return decode(self.read_codes(rows), self.attributes.codec, self.attributes.tau)

    def read_codes(self, rows: Places) -> Codes:
        """Return the codes of `rows` (a slice or indices), n×K×Hm×Wm."""
        indices = np.arange(self.layout.count)[rows]
        codes = np.empty((len(indices), *self.layout.image_shape), code_dtype(self.attributes.codec))
        self.read_codes_into(indices, codes)
        return codes

    def read_codes_into(self, indices: Indices, into: Codes) -> None:
        """Read the codes of images `indices` into `into`, n×K×Hm×Wm and C-contiguous, shards side by side."""
        # By shard, so that each file is read once and by one thread.
        order = np.argsort(indices, kind="stable")
        cuts = np.flatnonzero(np.diff(indices[order] // self.layout.shard_size)) + 1
        # Threads help: files are read and zstd decodes outside of Python's lock.
        with ThreadPoolExecutor() as pool:
            groups = np.split(order, cuts) if len(order) else []
            tasks = [pool.submit(self._read_from_shard, indices, places, into) for places in groups]
            for task in tasks:
                task.result()

    def read_shard(self, shard: int) -> Codes:
        """Return the codes of one shard, n×K×Hm×Wm."""
        rows = self.layout.rows(shard)
        return self.read_codes(slice(rows.start, rows.stop))

    def read_shard_scores(self, shard: int) -> NDArray[np.float32]:
        """Return the scores of one shard, n×K."""
        rows, file = self.layout.rows(shard), self.path / self.layout.files(shard)[1]
        with _damage_named(file):
            # zarr fills in zeros for a file that is missing or empty.
            if file.stat().st_size == 0:
                raise ValueError("it is empty")
            self.require_sealed(self.layout.files(shard)[1])
            return np.asarray(self.scores_array[rows.start : rows.stop])

    def is_as_sealed(self) -> bool:
        """Read all files and tell whether they have the SHA-256 that was recorded."""
        return self.seal is not None and self.layout.seal_of(self.path).contents_sha256 == self.seal.contents_sha256

    def require_sealed(self, *names: str) -> None:
        """Raise ValueError unless files of the store, small ones, are those that were sealed."""
        for name in names:
            self._require_recorded(name, self.layout.digest_of(name, content_of(self.path / name)))

    def _require_recorded(self, name: str, digest: str) -> None:
        """Raise ValueError unless the file `name` had this digest when the store was sealed."""
        if self.seal is not None and self.seal.digests and self.seal.digests.get(name) != digest:
            raise ValueError(f"{name} is not the file that was sealed: it comes from another store or was changed")

    def read_scores(self, rows: Indices) -> NDArray[np.float32]:
        """Return the scores of the rows `rows`, n×K."""
        scores = np.empty((len(rows), self.layout.image_shape[0]), np.float32)
        shards = rows // self.layout.shard_size
        for shard in np.unique(shards).tolist():
            of_it = shards == shard
            scores[of_it] = self.read_shard_scores(shard)[rows[of_it] - self.layout.rows(shard).start]
        return scores

    def _read_from_shard(self, indices: Indices, places: Indices, into: Codes) -> None:
        """Read the images `indices[places]`, ascending and all of one shard, to `into[places]`."""
        size, per_shard = self.layout.chunk_images, self.layout.chunks_per_shard
        name = self.layout.files(int(indices[places[0]]) // self.layout.shard_size)[0]
        with _damage_named(self.path / name):
            shard = read_shard_file(self.path / name, per_shard, size)
            self._require_recorded(name, shard.digest)
            chunks = indices[places] // size
            for chunk in np.unique(chunks).tolist():
                images = range(chunk * size, min((chunk + 1) * size, self.layout.count))
                _decode_to(into, places[chunks == chunk], indices, images, shard, chunk % per_shard)


def _decode_to(into: Codes, places: Indices, indices: Indices, images: range, shard: Shard, chunk: int) -> None:
    """Decode the chunk that holds `images`, and put `indices[places]` of them to `into[places]`."""
    # Most readers take images in the order of the store: those are decoded into place, without a copy.
    whole = np.array_equal(indices[places], images) and places[-1] - places[0] == len(images) - 1
    if whole:
        shard.decode(chunk, into[places[0] : places[-1] + 1])
    else:
        decoded = np.empty((len(images), *into.shape[1:]), into.dtype)
        shard.decode(chunk, decoded)
        into[places] = decoded[indices[places] - images.start]


def open_store(path: Path) -> HeatmapStore:
    """Open the finished heatmap store at `path` for reading."""
    if not path.is_dir():
        if partial_path(path).is_dir():
            raise StoreError(f"heatmap store {path} is unfinished; run the same `pirt-pose extract` again to finish it")
        raise StoreError(f"heatmap store {path} does not exist; `pirt-pose extract` makes one")
    store = open_unsealed(path)
    if store.seal is None:
        raise StoreError(f"{path} is an unfinished heatmap store; run the same `pirt-pose extract` again to finish it")
    # Before version 3 only the contents as a whole can be told from others, so they are read once.
    with _damage_named(path):
        if not store.seal.digests and not store.is_as_sealed():
            raise ValueError("its files are not those that were sealed")
    return store


def open_unsealed(path: Path) -> HeatmapStore:
    """Open a store of which shards may still be missing."""
    attributes, seal = _root(path)
    try:
        for name in (HEATMAPS, SCORES, KEYS):
            json_in(path / name / METADATA)  # raises for a pipe, for which zarr would wait, and for what is too large
        with reading(path):
            # Read-only, as DVC leaves its outputs where they are hard links.
            root = zarr.open_group(LocalStore(path, read_only=True), mode="r", zarr_format=3)
            heatmaps, scores, keys = (_array(root, name) for name in (HEATMAPS, SCORES, KEYS))
        layout = ShardLayout(attributes, heatmaps.shape[0], (heatmaps.shards or heatmaps.chunks)[0])
        _require_keys(keys, path / layout.keys_file, layout.count)
        decoded = decode_texts(np.asarray(keys[...]))
        if len(decoded) != layout.count:
            raise ValueError(f"it has {len(decoded)} keys for {layout.count} images")
        store = HeatmapStore(path, layout, decoded, _read_hashes(root, path, layout), seal, scores)
        store.require_sealed(*layout.fixed_files)
        # Shards are decoded without zarr, which holds only for arrays that are cut in exactly this way.
        expected = layout.create_arrays(zarr.create_group(MemoryStore()))
        if (heatmaps.metadata, scores.metadata) != tuple(array.metadata for array in expected):
            raise ValueError("its arrays are not cut as its attributes say")
    except Exception as error:  # zarr and its codecs raise anything on metadata of another form
        pass_on_refusal(error)
        raise StoreError(f"{path} is a damaged heatmap store: {_one_line(error)}; {_FIX}") from error
    return store


def _read_hashes(root: zarr.Group, path: Path, layout: ShardLayout) -> tuple[str, ...] | None:
    if layout.attributes.format_version < 3:
        return None
    array = _array(root, SHA256)
    _require_keys(array, path / layout.sha256_file, layout.count)
    hashes = decode_texts(np.asarray(array[...]))
    if len(hashes) != layout.count:
        raise ValueError(f"it has {len(hashes)} images' SHA-256 for {layout.count} images")
    return hashes


def is_store(path: Path) -> bool:
    """Say whether `path` is a heatmap store, be it unfinished or damaged."""
    try:
        return ATTRIBUTES in json_in(path / METADATA)["attributes"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def partial_path(path: Path) -> Path:
    """Return the folder in which the unfinished store of `path` lies."""
    return path.with_name(f"{path.name}.partial")


@contextmanager
def _damage_named(file: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise StoreError(f"{file} is missing; {_FIX}") from error
    except (ValueError, RuntimeError, OSError) as error:
        pass_on_refusal(error)
        raise StoreError(f"{file} is damaged: {_one_line(error)}; {_FIX}") from error


def _root(path: Path) -> tuple[StoreAttributes, Seal | None]:
    try:
        table = json_in(path / METADATA)["attributes"]
        attributes = checked(StoreAttributes, table[ATTRIBUTES], str(path))
        if SEAL not in table:
            return attributes, None
        digests = _sealed_root(table, path)[DIGESTS] if attributes.format_version >= _DIGESTS_SINCE else {}
        return attributes, Seal(table[SEAL], digests)
    except StoreError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        pass_on_refusal(error)
        reason = str(error) if isinstance(error, ParamsError) else f"no {ATTRIBUTES!r} in its {METADATA}"
        raise StoreError(f"{path} is not a heatmap store of this version: {reason}") from error


def _sealed_root(table: dict[str, Any], path: Path) -> dict[str, Any]:
    try:
        return without_seal(table)
    except ValueError as error:
        raise StoreError(f"{path} is a damaged heatmap store: {METADATA}: {error}; {_FIX}") from error


def _require_keys(keys: zarr.Array[Any], file: Path, count: int) -> None:
    """Raise ValueError unless their file can hold a key for each image; memory for them is asked for only then."""
    if not file.is_file():
        raise ValueError(f"{file.parent.name}/{file.name} is missing")
    if keys.shape[0] != count or not 0 < count <= _MOST_IMAGES:
        raise ValueError(f"it has {keys.shape[0]} keys for {count} images, at most {_MOST_IMAGES} are possible")
    bytes_an_image = keys.shape[1] if keys.ndim == 2 else 1
    if keys.ndim > 2 or bytes_an_image > _LONGEST_KEY:
        raise ValueError(f"its keys have {bytes_an_image} bytes each, at most {_LONGEST_KEY} are possible")


def _array(root: zarr.Group, name: str) -> zarr.Array[Any]:
    array = root[name]
    if not isinstance(array, zarr.Array):
        raise ValueError(f"{name} is not an array")
    return array


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
