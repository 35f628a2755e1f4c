"""Stopping on request, and chance that repeats."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import numpy as np
import torch
import torch.distributed as dist


class StopRequest:
    """Which signal asked the training to stop, if any did."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note the signal; a second one ends the process at once.

        Not under torchrun: SLURM signals it and its processes, to which it passes the signal on, and it kills them
        itself if they take too long.
        """
        self.signal = number
        if not dist.is_torchelastic_launched():
            signal.signal(number, signal.SIG_DFL)

    @property
    def exit_code(self) -> int:
        """As a shell reports a process that the signal ended."""
        return 128 + (self.signal or signal.SIGTERM)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn SIGTERM and SIGINT into a request that the training honours after its step."""
    request = StopRequest()
    before = {number: signal.signal(number, request) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed the step's dropout by its place in the run, so that a resumed training draws the same masks."""
    # Mixed and not added up: step 1 of seed 0 must not draw what step 0 of seed 1 does.
    state = np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0]))
