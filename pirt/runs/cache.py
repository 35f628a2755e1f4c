"""All heatmaps that a run needs, in one piece of memory shared by every loader worker."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pirt.core.errors import ParamsError, StoreError
from pirt.core.manifest import ImageRow, Manifest, Split
from pirt.heatmaps.codec import code_dtype, decode_table
from pirt.heatmaps.reader import HeatmapStore, open_store
from pirt.machine import require_shared_memory
from pirt.progress import note


@dataclass(frozen=True)
class HeatmapCache:
    """The codes of n images; `decode` turns them, or any part of them, into heatmaps."""

    codes: Tensor
    """n×K×Hm×Wm in shared memory: uint8 (tau8), float16 or float32."""
    table: Tensor | None
    """The values of tau8's 256 codes, float32; None for the other codecs."""
    fingerprint: str
    """The store's."""

    @property
    def size(self) -> tuple[int, int]:
        """Hm, Wm."""
        return self.codes.shape[2], self.codes.shape[3]

    def decode(self, codes: Tensor) -> Tensor:
        """Return float32 heatmaps in [0, 1], of the shape and on the device of `codes`."""
        return self.decoder(codes.device)(codes)

    def decoder(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """Return `decode` for many tensors on `device`, where the table goes now."""
        if self.table is None:
            return Tensor.float
        table = self.table.to(device)
        return lambda codes: table.index_select(0, codes.flatten().int()).view(codes.shape)


def load_heatmaps(store: HeatmapStore, rows: Sequence[ImageRow]) -> HeatmapCache:
    """Read the heatmaps of `rows`, in their order."""
    wanted = store.indices_of(rows)
    return HeatmapCache(
        codes=_read_shared(store, wanted),
        # A copy, since the table is read-only, which PyTorch warns about.
        table=torch.from_numpy(decode_table(store.attributes.tau).copy()) if _is_tau8(store) else None,
        fingerprint=store.fingerprint,
    )


def require_masks(store: HeatmapStore, tau: float) -> None:
    """Raise StoreError where `tau` lies below the values that the store keeps: its part masks would not be true."""
    if _is_tau8(store) and tau < (floor := store.attributes.tau):
        raise StoreError(
            f"heatmap store {store.path} keeps nothing below {floor}, but the model's tau is {tau}; extract "
            f"heatmaps with --tau {tau}, or train with a higher model.tau"
        )


def _is_tau8(store: HeatmapStore) -> bool:
    return store.attributes.codec == "tau8"


def heatmaps_for_model(store: HeatmapStore | None, rows: Sequence[ImageRow], tau: float) -> HeatmapCache:
    """Load the heatmaps for a model whose part masks are where a heatmap exceeds `tau`."""
    if store is None:
        raise ParamsError("this model needs heatmaps; pass a store of `pirt-pose extract` with --heatmaps")
    require_masks(store, tau)
    return load_heatmaps(store, rows)


def without_skipped(store: HeatmapStore | None, rows: Sequence[ImageRow]) -> tuple[ImageRow, ...]:
    """Return `rows` without the images that stage 1 could not read, which the store names."""
    if store is None or not store.skipped:
        return tuple(rows)
    places = store.indices_of(rows).tolist()
    return tuple(row for row, place in zip(rows, places, strict=True) if place not in store.skipped_rows)


def note_skipped(split: Split, rows: Sequence[ImageRow], readable: Sequence[ImageRow]) -> None:
    """Tell the user how many of the `rows` of a split are not among the readable ones."""
    if skipped := len(rows) - len(readable):
        note(f"{skipped} {split} images are left out: unreadable in stage 1")


def store_for(path: Path, manifest: Manifest) -> HeatmapStore:
    """Open a finished store that has every image of `manifest`; another one is a StoreError.

    A program opens its store once and passes it on.
    """
    store = open_store(path)
    store.require_images(manifest)
    return store


def _read_shared(store: HeatmapStore, wanted: NDArray[np.int64]) -> Tensor:
    dtype = torch.from_numpy(np.empty(0, code_dtype(store.attributes.codec))).dtype
    shape = (len(wanted), *store.layout.image_shape)
    require_shared_memory(int(np.prod(shape)) * dtype.itemsize, "the heatmaps", "take codec tau8")
    shared = torch.empty(shape, dtype=dtype)
    # Shared before it is filled: sharing copies what is there.
    shared.share_memory_()  # type: ignore[no-untyped-call]  # torch has no types for it
    store.read_codes_into(wanted, shared.numpy())
    return shared
