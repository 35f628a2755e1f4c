"""The coarse stage of a search: global features in a faiss index."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from pirt.core.disk import written_through
from pirt.core.errors import ParamsError, StoreError
from pirt.core.files import pass_on_refusal, refuse_other_files, sha256_of, written_whole
from pirt.core.params import Fraction, Frozen, Positive
from pirt.core.sealed import sealed, unsealed
from pirt.core.texts import MEBIBYTE, bytes_within
from pirt.nearest import RankLists
from pirt.progress import progress
from pirt.ranking.embeddings import Embeddings
from pirt.ranking.matching import Features

IndexKind = Literal["flat", "ivf", "hnsw"]

RECALLED = 100
"""The recall of an index is measured on this many nearest images."""
_TUNED_ON = 64  # queries
_MOST_EFFORT = 8192
_TRAINED_PER_LIST = 64  # images a list's centre is found from; faiss asks for 39 or more
_BLOCK_ROWS = 1 << 15
_INDEX, _MADE_FOR, _INDEX_SHA256 = "index.faiss", "made_for.json", "index_sha256"


class MadeFor(Frozen):
    """What an index was made for, and the effort that reached the wanted recall.

    Effort is the number of lists that an "ivf" index looks into, and of images that "hnsw" keeps on its way.
    """

    version: Literal[1] = 1
    gallery: str
    kind: IndexKind
    wanted: Fraction
    reached: Fraction
    effort: Positive


@dataclass(frozen=True)
class CoarseIndex:
    """A faiss index over a gallery of S global features side by side, in the gallery's order."""

    index: Any
    global_count: int
    made_for: MadeFor

    def search(self, query: Features, count: int) -> RankLists:
        """Return the globally nearest `count` images of each query, by global distance, from 0 to 2·S."""
        count = min(count, self.index.ntotal)
        cosines, images = self.index.search(query.globals.numpy(), count)
        # faiss fills a list up with −1 where it has looked into too little.
        if (images < 0).any():
            raise StoreError(
                f"the index finds fewer than {count} images for a query; take --index flat, a higher --recall or a "
                "lower --top-k"
            )
        # faiss lists equals in any order, evaluations in the gallery's.
        order = np.lexsort((images, -cosines))
        images, cosines = np.take_along_axis(images, order, 1), np.take_along_axis(cosines, order, 1)
        return RankLists(torch.from_numpy(images), self.global_count - torch.from_numpy(cosines))

    def with_effort(self, effort: int) -> "CoarseIndex":
        """Set how thoroughly the index searches."""
        if self.made_for.kind == "ivf":
            self.index.nprobe = effort
        elif self.made_for.kind == "hnsw":
            self.index.hnsw.efSearch = effort
        return replace(self, made_for=self.made_for.model_copy(update={"effort": effort}))


@contextmanager
def open_index(gallery: Embeddings, kind: IndexKind, recall: float, saved: Path | None) -> Iterator[CoarseIndex]:
    """Build the index of a gallery, or read the one that the folder `saved` holds.

    A new one becomes `saved` when the block ends well.
    "flat" is exact. The effort of the others is raised until they find the share `recall` of the truly nearest.
    """
    if saved is not None:
        refuse_other_files(saved, (_INDEX, _MADE_FOR))
    # A kept index that reaches another recall is tuned again, not built again.
    known = _read(saved, gallery, kind) if saved is not None and saved.exists() else None
    if known is not None and known.made_for.wanted == recall:
        yield known.with_effort(known.made_for.effort)
        return
    made_for = MadeFor(gallery=gallery.fingerprint, kind=kind, wanted=recall, reached=1.0, effort=1)
    index = build_index(gallery, kind) if known is None else known.index
    coarse = tuned(CoarseIndex(index, len(gallery.global_names), made_for), gallery)
    if saved is None:
        yield coarse
        return
    with written_whole(saved) as folder:
        folder.mkdir()
        # faiss hides why a disk refuses its writes.
        with written_through(folder / _INDEX) as disk:
            _faiss().write_index(index, _faiss().PyCallbackIOWriter(disk.write))
        # faiss reads a damaged index without a word.
        record = {**coarse.made_for.model_dump(mode="json"), _INDEX_SHA256: sha256_of(folder / _INDEX)}
        (folder / _MADE_FOR).write_text(sealed(record) + "\n", encoding="utf-8")
        yield coarse


def build_index(gallery: Embeddings, kind: IndexKind) -> Any:
    """Put the gallery's global features into a new index, a block at a time."""
    rows = gallery.rows("gallery")
    if rows.start == rows.stop:
        raise StoreError(f"{gallery.path} has no gallery images; pass the embeddings.h5 that pirt-eval made of them")
    channels = gallery.unit_globals(slice(rows.start, rows.start + 1)).shape[1]
    index = _empty_index(kind, channels, rows.stop - rows.start)
    if kind == "ivf":
        index.train(spread(gallery, rows, index.nlist * _TRAINED_PER_LIST).numpy())
    with progress(rows.stop - rows.start, "indexing", "image") as bar:
        for block in _blocks(rows):
            index.add(gallery.unit_globals(block).numpy())
            bar.update(block.stop - block.start)
    return index


def tuned(coarse: CoarseIndex, gallery: Embeddings) -> CoarseIndex:
    """Raise the effort until the recall on a sample of the queries, or of the gallery without any, is high enough."""
    if coarse.made_for.kind == "flat":
        return coarse
    asked = gallery.rows("query" if gallery.query_count else "gallery")
    query = Features(spread(gallery, asked, _TUNED_ON), coarse.global_count)
    exact = exact_nearest(query.globals, gallery)
    most = min(coarse.index.nlist if coarse.made_for.kind == "ivf" else _MOST_EFFORT, _MOST_EFFORT)
    effort = 1
    while True:
        tried = coarse.with_effort(min(effort, most))
        reached = recall_of(tried.index.search(query.globals.numpy(), exact.shape[1])[1], exact)
        if reached >= coarse.made_for.wanted:
            return replace(tried, made_for=tried.made_for.model_copy(update={"reached": reached}))
        if effort >= most:
            raise ParamsError(
                f"a {coarse.made_for.kind} index finds {reached:.3f} of the {RECALLED} nearest images of this gallery, "
                f"--recall asks for {coarse.made_for.wanted}; take --index flat, or a lower recall"
            )
        effort *= 2  # so that few tries find it; some more effort than needed costs little


def recall_of(images: Any, exact: Tensor) -> float:
    """Share of the truly nearest images that were found: two b×k lists of images."""
    found = (torch.as_tensor(images)[:, :, None] == exact[:, None, :]).any(dim=1)
    return float(found.double().mean())


def exact_nearest(query: Tensor, gallery: Embeddings) -> Tensor:
    """Return the truly nearest `RECALLED` gallery images of b queries, b×k; the file is read once."""
    rows = gallery.rows("gallery")
    best = torch.full((len(query), 0), -math.inf)
    images = torch.empty((len(query), 0), dtype=torch.int64)
    for block in _blocks(rows):
        numbers = torch.arange(block.start - rows.start, block.stop - rows.start).expand(len(query), -1)
        # The best so far compete with each block, so that no matrix has the whole gallery.
        best = torch.cat([best, query @ gallery.unit_globals(block).T], dim=1)
        best, kept = best.topk(min(RECALLED, best.shape[1]), dim=1)
        images = torch.cat([images, numbers], dim=1).gather(1, kept)
    return images


def spread(embeddings: Embeddings, rows: slice, wanted: int) -> Tensor:
    """Read about `wanted` global features in pieces from all over `rows`."""
    count = rows.stop - rows.start
    if wanted >= count:
        return embeddings.unit_globals(rows)
    # From all over, since neighbours in a manifest are pictures of one person.
    pieces = min(64, wanted)
    length = -(-wanted // pieces)
    starts = [rows.start + number * (count - length) // max(pieces - 1, 1) for number in range(pieces)]
    return torch.cat([embeddings.unit_globals(slice(start, start + length)) for start in starts])


def _blocks(rows: slice) -> Iterator[slice]:
    for start in range(rows.start, rows.stop, _BLOCK_ROWS):
        yield slice(start, min(start + _BLOCK_ROWS, rows.stop))


def _empty_index(kind: IndexKind, channels: int, count: int) -> Any:
    faiss = _faiss()
    if kind == "flat":
        return faiss.IndexFlatIP(channels)
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(channels, 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 128
        return index
    # As many lists as images in each: a search reads about that many centres and images.
    lists = max(1, math.isqrt(count))
    ivf = faiss.IndexIVFFlat(faiss.IndexFlatIP(channels), channels, lists, faiss.METRIC_INNER_PRODUCT)
    ivf.cp.min_points_per_centroid = 1  # small galleries are fine, and not worth a warning
    return ivf


def _read(folder: Path, gallery: Embeddings, kind: IndexKind) -> CoarseIndex:
    try:
        record = unsealed(bytes_within(folder / _MADE_FOR, MEBIBYTE))
        if record.pop(_INDEX_SHA256, None) != sha256_of(folder / _INDEX):
            raise ValueError(f"{_INDEX} is not the file that {_MADE_FOR} records (its SHA-256 differs)")
        made_for = MadeFor.model_validate(record)
        # Not damage, so it passes the handler below as it is.
        if (made_for.gallery, made_for.kind) != (gallery.fingerprint, kind):
            raise StoreError(f"index {folder} was made for another gallery or kind of index; name another folder")
        return CoarseIndex(_faiss().read_index(str(folder / _INDEX)), len(gallery.global_names), made_for)
    except StoreError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        pass_on_refusal(error)
        reason = " ".join(str(error).split())[:200]
        raise StoreError(f"index {folder} is damaged or not an index: {reason}; remove it to build it again") from error


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise ParamsError("pirt-search needs faiss, which is not installed: pip install 'pirt[search]'") from None
    return faiss
