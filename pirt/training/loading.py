"""The loader of a training, and the memory and processes that it may take."""

import os
import shutil
import signal
from pathlib import Path

from torch.utils.data import DataLoader

from pirt.runs.dataset import Item, PersonDataset
from pirt.training.sampler import PKSampler

_GIB = 1 << 30
_SHARED_MEMORY = Path("/dev/shm")


def hold_pixels_within(dataset: PersonDataset, gib: float) -> bool:
    """Decode all images into shared memory if they take at most `gib` GiB and half of what is free.

    Every process of this machine holds its own, so the room is shared among them.
    """
    room = gib * _GIB
    if _SHARED_MEMORY.is_dir():
        room = min(room, shutil.disk_usage(_SHARED_MEMORY).free / 2)
    fits = dataset.pixel_bytes <= room / int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if fits:
        dataset.hold_pixels()
    return fits


def default_workers(on_gpu: bool) -> int:
    """Return enough processes to feed a GPU; a CPU that trains has one core less to give."""
    cores = os.cpu_count() or 1
    return min(8, cores) if on_gpu else min(1, cores - 1)


def make_loader(dataset: PersonDataset, sampler: PKSampler, workers: int, on_gpu: bool) -> "DataLoader[Item]":
    """Return a loader whose batches do not depend on `workers`; 0 loads in this process."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        pin_memory=on_gpu,
        persistent_workers=workers > 0,
        worker_init_fn=_leave_interrupts_to_parent if workers else None,
        prefetch_factor=4 if workers else None,
    )


def _leave_interrupts_to_parent(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
