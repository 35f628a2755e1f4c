"""What a store is: its attributes, its four zarr v3 arrays and how they are cut into shards.

    heatmaps      N×K×Hm×Wm  codes (see `codec`), one file per shard of `shard_size` images
    scores        N×K        float32, each keypoint's highest value, one file per shard
    keys          N          strings, one file; before version 2: N×L uint8, UTF-8 padded with zeros
    image_sha256  N          strings, one file: of each image's file, in hexadecimal; since version 3

An image's file decides its row, so rows are found by SHA-256; splits, identities and cameras are the manifest's alone.
The root's attribute `decode_table` holds the values of tau8's 256 codes, so that zarr alone can read values. Nothing
in a store tells a time or a machine, so the same input gives the same bytes. Every chunk carries a CRC32C; since
version 3 a finished store's root holds a digest of every file and the SHA-256 of its own attributes.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from pirt.core.manifest import ImageRow
from pirt.core.params import Fraction, Frozen, Positive, Size
from pirt.core.sealed import with_seal
from pirt.heatmaps.codec import CodecName, Codes, code_dtype, decode_table
from pirt.heatmaps.shards import content_of, shard_of, short_digest

HEATMAPS, SCORES, KEYS, SHA256 = "heatmaps", "scores", "keys", "image_sha256"
ATTRIBUTES, SEAL, DIGESTS, DECODE_TABLE = "pirt_heatmaps", "contents_sha256", "digests", "decode_table"
METADATA = "zarr.json"
# A shard is the unit of writing, a chunk that of reading: one image alone costs at most 16 decoded ones.
_CHUNK_IMAGES = 16
_ZSTD_LEVEL = 1


class SkippedImage(Frozen):
    """An image that could not be read; its heatmaps and scores are zero."""

    key: str
    reason: str


class StoreAttributes(Frozen):
    """What made a store. Two runs with the same attributes and images write the same bytes."""

    format_version: Literal[1, 2, 3] = 3
    keypoints: tuple[str, ...]
    codec: CodecName
    tau: Fraction
    input_size: Size
    trained_size: Size | None = None
    """Height and width of the input that the network was trained with, where the store says so."""
    heatmap_size: Size
    geometry: Literal["resize", "topdown"]
    network: str
    config_sha256: str
    """Of what decides the heatmaps: the network's layers and what it does to an image."""
    weights_sha256: str
    manifest_fingerprint: str | None = None
    """Of stores before version 3, which do not hold their images' SHA-256 and serve that manifest alone."""
    precision: Literal["float32", "bfloat16", "float16"]
    flip_test: bool
    udp: bool = False
    """Whether cell j is the input's pixel j·(side − 1)/(cells − 1), as UDP networks mean it, and not j·side/cells."""
    batch_size: Positive
    device: Literal["cpu", "cuda"] = "cpu"
    skipped: tuple[SkippedImage, ...] = ()

    def as_table(self) -> dict[str, Any]:
        """Return what a store's JSON says; what only an older version has is left out of a newer one."""
        left_out = {"manifest_fingerprint"} if self.manifest_fingerprint is None else None
        return self.model_dump(mode="json", exclude=left_out)

    def of_a_row(self) -> dict[str, Any]:
        """Return what, beside an image, decides the bytes of its row."""
        return self.model_dump(exclude={"format_version", "network", "trained_size", "manifest_fingerprint", "skipped"})


@dataclass(frozen=True)
class Seal:
    """What a finished store's root says of its other files."""

    contents_sha256: str
    """One SHA-256 over their names and bytes."""
    digests: Mapping[str, str]
    """What tells each from any other, by name, cheap enough to be looked at on every reading; since version 3."""


@dataclass(frozen=True)
class ShardLayout:
    """How `count` images are cut into shards; the last one may be shorter."""

    attributes: StoreAttributes
    count: int
    shard_size: int

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.count // self.shard_size)

    @property
    def chunk_images(self) -> int:
        """Images in a chunk, the piece that is compressed and checked as one: the largest divisor up to 16."""
        return max(size for size in range(1, _CHUNK_IMAGES + 1) if self.shard_size % size == 0)

    @property
    def chunks_per_shard(self) -> int:
        """Number of chunks in a shard file."""
        return self.shard_size // self.chunk_images

    def rows(self, shard: int) -> range:
        """Return the rows of one shard."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.count))

    def batches(self, shard: int) -> Iterator[range]:
        """Yield the rows of one shard that the network sees together; the last batch may be shorter."""
        rows, size = self.rows(shard), self.attributes.batch_size
        yield from (rows[start : start + size] for start in range(0, len(rows), size))

    def files(self, shard: int) -> tuple[str, str]:
        """Return the files of one shard, relative to the store, in the order in which they are written."""
        return f"{HEATMAPS}/c.{shard}.0.0.0", f"{SCORES}/c.{shard}.0"

    @property
    def keys_file(self) -> str:
        """The file of the keys, relative to the store."""
        return f"{KEYS}/c.0.0" if self.attributes.format_version == 1 else f"{KEYS}/c.0"

    @property
    def sha256_file(self) -> str:
        """The file of the images' SHA-256, relative to the store."""
        return f"{SHA256}/c.0"

    @property
    def fixed_files(self) -> tuple[str, ...]:
        """The files that do not depend on what the network says, but for the root's metadata."""
        hashes = () if self.attributes.format_version < 3 else (f"{SHA256}/{METADATA}", self.sha256_file)
        return (*(f"{array}/{METADATA}" for array in (HEATMAPS, SCORES, KEYS)), self.keys_file, *hashes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """K, Hm, Wm."""
        return (len(self.attributes.keypoints), *self.attributes.heatmap_size)

    def metadata(self, images: Sequence[ImageRow]) -> dict[str, bytes]:
        """Return the files of a store of `images` whose shards are all still to come."""
        files: dict[str, Buffer] = {}
        # Without consolidated metadata, which zarr v3's specification does not have.
        root = zarr.create_group(MemoryStore(files), attributes=root_attributes(self.attributes))
        self.create_arrays(root)
        columns = ((KEYS, [image.key for image in images]), (SHA256, [image.sha256 for image in images]))
        for name, texts in columns:
            array = root.create_array(
                name, dtype="string", shape=(len(texts),), chunks=(len(texts),), **{**_STORED, "fill_value": ""}
            )
            array[...] = np.array(texts, dtype=object)
        return {name: value.to_bytes() for name, value in files.items()}

    def shard_contents(self, codes: Codes, scores: NDArray[np.float32]) -> tuple[bytes, bytes]:
        """Return the bytes of one shard's `files`: `codes` n×K×Hm×Wm and `scores` n×K."""
        files: dict[str, Buffer] = {}
        # As the only shard of a small store, so that zarr itself encodes it.
        alone = replace(self, count=len(codes))
        for array, values in zip(
            alone.create_arrays(zarr.create_group(MemoryStore(files))), (codes, scores), strict=True
        ):
            array[...] = values
        heatmaps_file, scores_file = alone.files(0)
        return files[heatmaps_file].to_bytes(), files[scores_file].to_bytes()

    def create_arrays(self, root: zarr.Group) -> tuple[zarr.Array[Any], zarr.Array[Any]]:
        """Create the empty arrays `heatmaps` and `scores` in `root`."""
        heatmaps = root.create_array(
            HEATMAPS,
            dtype=code_dtype(self.attributes.codec),
            shape=(self.count, *self.image_shape),
            chunks=(self.chunk_images, *self.image_shape),
            # One shard is one task's: with blocks smaller than a shard, parallel writers silently lose data.
            shards=(self.shard_size, *self.image_shape),
            **_STORED,
        )
        keypoints = self.image_shape[0]
        scores = root.create_array(
            SCORES, dtype=np.float32, shape=(self.count, keypoints), chunks=(self.shard_size, keypoints), **_STORED
        )
        return heatmaps, scores

    def seal_of(self, folder: Path) -> Seal:
        """Read all files of a store, its root metadata apart, and return what is to be said of them."""
        listing, digests = hashlib.sha256(), {}
        for name in sorted([*self.fixed_files, *(file for shard in range(self.shards) for file in self.files(shard))]):
            content = content_of(folder / name)
            listing.update(f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode())
            digests[name] = self.digest_of(name, content)
        return Seal(listing.hexdigest(), digests)

    def digest_of(self, name: str, content: bytes) -> str:
        """Return the digest of a file of the store; a shard that is damaged is a ValueError."""
        if name.startswith(f"{HEATMAPS}/c."):
            return shard_of(content, self.chunks_per_shard, self.chunk_images).digest
        return short_digest(content)


# Empty chunks are written too: a missing file is damage, never a blank image.
_STORED: dict[str, Any] = {
    "compressors": [ZstdCodec(level=_ZSTD_LEVEL), Crc32cCodec()],
    "fill_value": 0,
    "chunk_key_encoding": {"name": "default", "separator": "."},
    "config": {"write_empty_chunks": True},
}


def root_attributes(attributes: StoreAttributes, seal: Seal | None = None) -> dict[str, Any]:
    """Return the root group's attributes; `seal` is of a finished store."""
    table: dict[str, Any] = {ATTRIBUTES: attributes.as_table()}
    if attributes.codec == "tau8":
        table[DECODE_TABLE] = decode_table(attributes.tau).tolist()
    if seal is None:
        return table
    return with_seal({**table, SEAL: seal.contents_sha256, DIGESTS: dict(seal.digests)})


def root_metadata(attributes: StoreAttributes, seal: Seal) -> bytes:
    """Return the root group's file of a finished store."""
    files: dict[str, Buffer] = {}
    zarr.create_group(MemoryStore(files), attributes=root_attributes(attributes, seal))
    return files[METADATA].to_bytes()


def decode_texts(stored: NDArray[Any]) -> tuple[str, ...]:
    """Return the N texts of an array of strings or, as the keys in stores of version 1, of N×L bytes."""
    if stored.ndim == 1:
        return tuple(map(str, stored.tolist()))
    return tuple(row.tobytes().rstrip(b"\0").decode() for row in stored)
