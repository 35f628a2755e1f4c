"""Decoding shard files straight into place: faster than zarr's own reading, and nothing missing ever reads as zero.

A shard is zarr v3's `sharding_indexed`: zstd chunks, each followed by its CRC32C, then the index of (offset, length)
pairs, little-endian 64-bit, with a CRC32C of its own. Damage is a ValueError or RuntimeError.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np
from numcodecs import zstd
from numpy.typing import NDArray

from pirt.core.files import is_stream, reading
from pirt.heatmaps.codec import Codes

_CRC_BYTES = 4
_ENTRY_BYTES = 16


@dataclass(frozen=True)
class Shard:
    """One shard file in memory, its index checked."""

    content: memoryview
    index: NDArray[np.uint64]
    """Offset and length of each chunk."""
    chunk_images: int

    @property
    def digest(self) -> str:
        """64 bits over the index and the checksums of all chunks, so of all that `decode` takes.

        It tells another shard from this one at no cost beside decoding, which compares each chunk with its checksum.
        """
        ends = self.index.sum(axis=1).tolist()
        checksums = (self.content[end - _CRC_BYTES : end] for end in ends)
        return short_digest(b"".join([self.index.tobytes(), *checksums]))

    def decode(self, chunk: int, into: Codes) -> None:
        """Check and decode one chunk into `into`, n×K×Hm×Wm and C-contiguous; the array's last chunk is padded."""
        offset, length = self.index[chunk].tolist()
        data = _checked(self.content[offset : offset + length])
        if len(into) == self.chunk_images:
            zstd.decompress(data, into)
        else:
            # zarr writes chunks whole; behind the last image are zeros.
            padded = np.empty((self.chunk_images, *into.shape[1:]), into.dtype)
            zstd.decompress(data, padded)
            into[...] = padded[: len(into)]


def short_digest(content: bytes) -> str:
    """Return the first 64 bits of a SHA-256 in hexadecimal: enough for what befalls files by themselves."""
    return hashlib.sha256(content).hexdigest()[:16]


def content_of(file: Path) -> bytes:
    """Return the bytes of a file of a store; what may never end is a ValueError."""
    if is_stream(file):
        raise ValueError(f"{file.name} is a pipe or device, not a file")
    with reading(file):
        return file.read_bytes()


def read_shard_file(file: Path, chunks: int, chunk_images: int) -> Shard:
    """Read a shard of `chunks` chunks of `chunk_images` images each."""
    return shard_of(content_of(file), chunks, chunk_images)


def shard_of(file_content: bytes, chunks: int, chunk_images: int) -> Shard:
    """Return the shard that a file's content is, its index checked."""
    content = memoryview(file_content)
    index_bytes = _ENTRY_BYTES * chunks + _CRC_BYTES
    # A negative slice of fewer bytes would take what is there without a word.
    if len(content) < index_bytes:
        raise ValueError(f"{len(content)} bytes are too few for an index of {index_bytes}")
    index = np.frombuffer(_checked(content[-index_bytes:]), "<u8").reshape(chunks, 2)
    return Shard(content, index, chunk_images)


def _checked(block: memoryview) -> memoryview:
    data, crc = block[:-_CRC_BYTES], block[-_CRC_BYTES:]
    if len(crc) < _CRC_BYTES or google_crc32c.value(bytes(data)) != int.from_bytes(crc, "little"):
        raise ValueError("its CRC32C does not match")
    return data
