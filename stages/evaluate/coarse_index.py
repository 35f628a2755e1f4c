"""The coarse stage of a search: global features in a faiss index."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from pirt.embeddings import Embeddings
from pirt.errors import ParamsError, StoreError
from pirt.files import written_whole
from pirt.matching import Features
from pirt.search import RankLists

IndexKind = Literal["flat", "ivf", "hnsw"]
Progress = Callable[[int], object]

_TRAINED_PER_LIST = 64  # images a list's centre is found from; faiss asks for 39 or more
_BLOCK_ROWS = 1 << 15
_INDEX, _MADE_FOR = "index.faiss", "made_for.json"


@dataclass(frozen=True)
class IndexChoice:
    """How the coarse stage searches.

    "flat" is exact. "ivf" looks into `probes` of its lists, "hnsw" keeps `effort` images on its way; more of
    either finds more and takes longer.
    """

    kind: IndexKind = "flat"
    probes: int = 64
    effort: int = 256


@dataclass(frozen=True)
class CoarseIndex:
    """A faiss index over a gallery of S global features side by side, in the gallery's order."""

    index: Any
    global_count: int

    def search(self, query: Features, count: int) -> RankLists:
        """Return the globally nearest `count` images of each query, by global distance, from 0 to 2·S."""
        cosines, images = self.index.search(query.globals.numpy(), min(count, self.index.ntotal))
        if (images < 0).any():
            raise StoreError(f"the index found fewer than {count} images for a query; look into more lists: --probes")
        return RankLists(torch.from_numpy(images), self.global_count - torch.from_numpy(cosines))


def open_index(gallery: Embeddings, choice: IndexChoice, saved: Path | None, progress: Progress) -> CoarseIndex:
    """Build the index of a gallery, or read the one that `saved` holds; a new one is saved there."""
    made_for = {"gallery": gallery.fingerprint, "kind": choice.kind}
    if saved is not None and saved.exists():
        index = _read(saved, made_for)
    else:
        index = build_index(gallery, choice, progress)
        if saved is not None:
            with written_whole(saved) as folder:
                folder.mkdir()
                _faiss().write_index(index, str(folder / _INDEX))
                (folder / _MADE_FOR).write_text(json.dumps(made_for) + "\n", encoding="utf-8")
    _set_effort(index, choice)
    return CoarseIndex(index, len(gallery.global_names))


def build_index(gallery: Embeddings, choice: IndexChoice, progress: Progress) -> Any:
    """Put the gallery's global features into a new index, a block at a time."""
    rows = gallery.rows("gallery")
    count = rows.stop - rows.start
    channels = gallery.unit_globals(slice(rows.start, rows.start + 1)).shape[1]
    index = _empty_index(choice.kind, channels, count)
    if choice.kind == "ivf":
        index.train(_sample(gallery, rows, index.nlist * _TRAINED_PER_LIST))
    for start in range(rows.start, rows.stop, _BLOCK_ROWS):
        block = slice(start, min(start + _BLOCK_ROWS, rows.stop))
        index.add(gallery.unit_globals(block).numpy())
        progress(block.stop - block.start)
    return index


def _empty_index(kind: IndexKind, channels: int, count: int) -> Any:
    faiss = _faiss()
    if kind == "flat":
        return faiss.IndexFlatIP(channels)
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(channels, 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 128
        return index
    lists = max(1, math.isqrt(count))
    ivf = faiss.IndexIVFFlat(faiss.IndexFlatIP(channels), channels, lists, faiss.METRIC_INNER_PRODUCT)
    ivf.cp.min_points_per_centroid = 1  # small galleries are fine, and not worth a warning
    return ivf


def _sample(gallery: Embeddings, rows: slice, wanted: int) -> Any:
    """Read about `wanted` features in pieces from all over the gallery."""
    count = rows.stop - rows.start
    if wanted >= count:
        return gallery.unit_globals(rows).numpy()
    pieces = 64
    length = -(-wanted // pieces)
    starts = [rows.start + number * (count - length) // (pieces - 1) for number in range(pieces)]
    return torch.cat([gallery.unit_globals(slice(start, start + length)) for start in starts]).numpy()


def _set_effort(index: Any, choice: IndexChoice) -> None:
    if choice.kind == "ivf":
        index.nprobe = min(choice.probes, index.nlist)
    elif choice.kind == "hnsw":
        index.hnsw.efSearch = choice.effort


def _read(folder: Path, made_for: dict[str, str]) -> Any:
    try:
        found = json.loads((folder / _MADE_FOR).read_text(encoding="utf-8"))
        if found != made_for:
            raise StoreError(f"index {folder} was made for another gallery or kind of index; name another folder")
        return _faiss().read_index(str(folder / _INDEX))
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, StoreError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise StoreError(f"index {folder} is damaged or no index: {reason}; remove it to build it again") from error


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise ParamsError("pirt-search needs faiss, which is not installed: pip install 'pirt[search]'") from None
    return faiss
