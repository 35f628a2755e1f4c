"""Loaders of images, and the memory and processes that they may take."""

import atexit
import signal
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

if TYPE_CHECKING:
    from torch.utils.data.dataloader import _BaseDataLoaderIter

from pirt.runs.dataset import Draw, Item, PersonDataset
from pirt.runs.machine import cores, free_shared_memory, processes_here, require_shared_memory

_GIB = 1 << 30
_PREFETCHED = 4
"""Batches that each loader process makes ahead."""
_PARENTS_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def hold_pixels_within(dataset: PersonDataset, gib: float) -> bool:
    """Decode all images into shared memory if they take at most `gib` GiB and half of what is free.

    Every process of this machine holds its own, so the room is shared among them.
    """
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
    needed = workers * _PREFETCHED * size * dataset.item_bytes
    require_shared_memory(needed, f"the batches of {workers} loader processes", "take fewer --workers")
    return _Loader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        pin_memory=on_gpu,
        persistent_workers=workers > 0 and not in_order,
        worker_init_fn=_leave_signals_to_parent if workers else None,
        prefetch_factor=_PREFETCHED if workers else None,
    )


class _Loader(DataLoader[Item]):
    """A loader whose processes never die of a signal that was meant for their parent, not even while they start.

    torchrun, srun and a terminal signal the whole group: the parent stops as it sees fit, and its loader with it.
    A new process inherits which signals are blocked, and takes none before it has learned to ignore them.
    """

    def __iter__(self) -> "_BaseDataLoaderIter":
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _PARENTS_SIGNALS)
        try:
            batches = super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if self.num_workers:
            # At exit multiprocessing ends what still runs by SIGTERM, which the processes ignore, and then waits for
            # them for ever. Batches that an exception's traceback holds, say, are still there at that time.
            atexit.register(_end_processes, weakref.ref(batches))
        return batches


def _end_processes(of: "weakref.ref[Any]") -> None:
    if (batches := of()) is not None:
        batches._shutdown_workers()


def _leave_signals_to_parent(_: int) -> None:
    for number in _PARENTS_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PARENTS_SIGNALS)
