"""Loaders of images, and the memory and processes that they may take."""

import os
import signal
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

if TYPE_CHECKING:
    from torch.utils.data.dataloader import _BaseDataLoaderIter

from pirt.machine import cores, free_shared_memory, processes_here, require_shared_memory
from pirt.runs.dataset import Draw, Item, PersonDataset

_GIB = 1 << 30
_PREFETCHED = 4
"""Batches that each loader process makes ahead."""
_PARENTS_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def hold_pixels_within(dataset: PersonDataset, gib: float) -> bool:
    """Decode all images into shared memory if they take at most `gib` GiB and half of what is free.

    Every process of this machine holds its own, so the room is shared among them.
    """
    # Half, since the batches of loader processes lie there too.
    fits = dataset.pixel_bytes <= min(gib * _GIB, free_shared_memory() / 2) / processes_here()
    if fits:
        dataset.hold_pixels()
    return fits


def default_workers(on_gpu: bool) -> int:
    """Return enough processes to feed a GPU; a CPU that trains has one core less to give."""
    return min(8, cores()) if on_gpu else min(1, cores() - 1)


def make_loader(
    dataset: PersonDataset, batches: Iterable[list[Draw]] | int, workers: int, on_gpu: bool
) -> "DataLoader[Item]":
    """Return a loader whose batches do not depend on `workers`; 0 loads in this process.

    `batches` is a sampler of one epoch after another, or the size of batches that go through the images in order.
    """
    sampler: Any = batches
    size = batches if isinstance(batches, int) else len(next(iter(batches)))
    if in_order := isinstance(batches, int):
        sampler = BatchSampler(SequentialSampler(dataset), batches, drop_last=False)
    require_room_for_batches(dataset, size, workers)
    return _Loader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        # Only from pinned memory does a copy to the GPU go on while the host does other things.
        pin_memory=on_gpu,
        # A training comes back for each epoch; whoever goes through the images in order does so once.
        persistent_workers=workers > 0 and not in_order,
        worker_init_fn=_heed_parent_alone if workers else None,
        prefetch_factor=_PREFETCHED if workers else None,
    )


def require_room_for_batches(dataset: PersonDataset, size: int, workers: int) -> None:
    """Raise StoreError where shared memory lacks room for the batches of `size` images that processes make ahead."""
    needed = workers * _PREFETCHED * size * dataset.item_bytes
    require_shared_memory(needed, f"the batches of {workers} loader processes", "take fewer --workers")


class _Loader(DataLoader[Item]):
    """A loader whose processes never die of a signal that was meant for their parent, not even while they start.

    torchrun, srun and a terminal signal the whole group: the parent stops as it sees fit, and its loader with it.
    A new process inherits which signals are blocked, and keeps them so.
    """

    def __iter__(self) -> "_BaseDataLoaderIter":
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _PARENTS_SIGNALS)
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _heed_parent_alone(_: int) -> None:
    if hasattr(signal, "sigwaitinfo"):
        threading.Thread(target=_end_when_parent_says, daemon=True).start()
    else:  # macOS cannot tell who sent a signal: there one to the whole group ends these processes too
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PARENTS_SIGNALS)


def _end_when_parent_says() -> None:
    # Not every end comes by the loader's queues: those of batches in a reference cycle, as of an error's traceback,
    # are closed before the loader can say so. Then, and at exit, the parent sends SIGTERM and waits without limit.
    while signal.sigwaitinfo(_PARENTS_SIGNALS).si_pid != os.getppid():
        pass
    os._exit(0)
