"""Trainings of a small network that are stopped and go on, against ones that are not."""

import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from gpu_parts.machine import TINY, Machine, Sizes
from gpu_parts.trainings import drawn_people, drawn_store

from pirt.runs.run import weights_sha256
from pirt.training.recipe import Job, Listener, Training, train

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("float32", {}),
    ("bfloat16", {"precision": "bfloat16"}),
    ("bfloat16, compiled", {"precision": "bfloat16", "compile": True}),
    ("float16", {"precision": "float16"}),
]


class Stops(Listener):
    """Asks to stop in the second epoch, as a signal does."""

    def stepped(self, training: Training) -> None:
        """Ask after its first step."""
        if training.state.step == training.steps_per_epoch + 1:
            training.stop.signal = signal.SIGTERM


def resumes(_: Sizes, machine: Machine) -> Iterator[str]:
    """Whether a small training that was stopped goes on to the same bytes."""
    # Compiled anew: beside a large network's graph a small one's would be compiled for any size.
    torch.compiler.reset()
    yield from ("| precision | weights |", "|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        manifest = drawn_people(TINY, Path(folder))
        store = drawn_store(TINY, Path(folder) / "heatmaps.zarr", manifest)
        # A CPU has no float16, and the small sizes are to need no compiler.
        for number, (name, changed) in enumerate(KINDS if machine.on_gpu else KINDS[:2]):
            params = TINY.params.model_copy(update={"train": TINY.params.train.model_copy(update=changed)})
            out = Path(folder) / f"whole{number}"
            job = Job(params, None, manifest, store, out, device=machine.device.type)  # type: ignore[arg-type]
            job = replace(job, workers=2 if machine.on_gpu else 0)
            train(job, Listener())
            parted = replace(job, out=Path(folder) / f"parted{number}")
            try:
                train(parted, Stops())
            except SystemExit:
                train(parted, Listener())
            equal = weights_sha256(job.out) == weights_sha256(parted.out)
            yield f"| {name} | {'equal' if equal else 'differ'} |"
