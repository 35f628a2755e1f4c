"""Rendering many shots over processes, in order, with the same bytes as one process."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.pool import Pool

from pirt.machine import cores
from pirt.progress import progress
from pirt_stages.data.pedestrians.shot import Picture, Shot, render

_WORTH_A_PROCESS = 250  # pictures, below which starting another process takes longer than it saves


def render_all(seed: int, shots: Sequence[Shot], workers: int | None) -> Iterator[Picture]:
    """Yield the picture of each shot in order; `workers` None takes every core where that pays, 0 works here."""
    count = min(cores(), 1 + len(shots) // _WORTH_A_PROCESS) if workers is None else workers
    with progress(len(shots), "rendering", "image") as bar:
        if count <= 1:
            for shot in shots:
                yield render(seed, shot)
                bar.update()
            return
        with _pool(count) as pool:
            for picture in pool.imap(partial(render, seed), shots, chunksize=16):
                yield picture
                bar.update()


def _pool(count: int) -> Pool:
    # Workers inherit what is blocked: of a Ctrl-C, which goes to all processes, this one alone has to tell.
    resource_tracker.ensure_running()  # its start would unblock it again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        # A fresh interpreter a worker: forking one that has threads (torch's, tqdm's) may hang.
        return multiprocessing.get_context("spawn").Pool(count)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
