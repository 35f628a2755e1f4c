"""Rendering many shots over processes, in order, with the same bytes as one process."""

import multiprocessing
from collections.abc import Iterator, Sequence
from functools import partial

from pirt.machine import cores
from pirt.progress import progress
from pirt_stages.data.pedestrians.shot import Picture, Shot, render

_WORTH_A_PROCESS = 250


def render_all(seed: int, shots: Sequence[Shot], workers: int | None) -> Iterator[Picture]:
    """Yield the picture of each shot in order; `workers` None takes every core where that pays, 0 works here."""
    count = min(cores(), 1 + len(shots) // _WORTH_A_PROCESS) if workers is None else workers
    with progress(len(shots), "rendering", "image") as bar:
        if count <= 1:
            for shot in shots:
                yield render(seed, shot)
                bar.update()
            return
        # A fresh interpreter a worker: forking one that has threads (torch's, tqdm's) may hang.
        with multiprocessing.get_context("spawn").Pool(count) as pool:
            for picture in pool.imap(partial(render, seed), shots, chunksize=16):
                yield picture
                bar.update()
