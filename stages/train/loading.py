"""Batches for the device, and how long they were waited for."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from pirt.data.dataset import Batch, Item, PersonDataset, batches_of
from pirt.data.sampler import PKSampler

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


class Clock:
    """Counts the seconds of an epoch, and those of them that the training waited for data."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin an epoch."""
        self._began = time.perf_counter()
        self._waited = 0.0
        self.steps = 0

    def batches(self, loader: "DataLoader[Item]", device: torch.device) -> Iterator[Batch]:
        """Yield the loader's batches on `device`."""
        source = batches_of(loader, device)
        while True:
            asked = time.perf_counter()
            batch = next(source, None)
            self._waited += time.perf_counter() - asked
            if batch is None:
                return
            self.steps += 1
            yield batch

    @property
    def seconds(self) -> float:
        """Since the epoch began."""
        return time.perf_counter() - self._began

    @property
    def wait_share(self) -> float:
        """Of the epoch so far, the part that went into waiting for data."""
        return self._waited / max(self.seconds, 1e-9)
