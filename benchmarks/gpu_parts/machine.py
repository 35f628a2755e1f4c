"""The sizes of `benchmarks/gpu.py`, and the machine that it measures."""

import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch

from pirt.runs.params import ModelParams, Params, TrainParams


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    params: Params
    classes: int = 702
    matrix: int = 8192
    copied: int = 1 << 30
    """Bytes."""
    steps: int = 20
    compiler: str = "inductor"
    people: int = 160
    images: int = 8
    """Of each person, to be decoded."""
    copies: int = 4
    """Of each image by other names: an epoch must be longer than what loaders make ahead."""
    queries: int = 2210
    gallery: int = 17661
    channels: int = 2048
    loaders: tuple[tuple[int, float], ...] = ((8, 4.0), (16, 4.0), (8, 0.0))
    """Processes, and GiB for decoded images."""


FULL = Sizes(Params(train=TrainParams(epochs=3, warmup_epochs=1, cosine_from_epoch=2)))
_TINY_MODEL = ModelParams(
    backbone="resnet18_ibn_a", width=4, strides=(1, 2, 1, 1), bottleneck=8, feedforward=8, inter_layers=1
)
_TINY_TRAIN = FULL.params.train.model_copy(update={"image_size": (64, 32), "identities": 2, "instances": 2})
TINY = Sizes(
    params=Params(model=_TINY_MODEL, train=_TINY_TRAIN),
    classes=5,
    matrix=32,
    copied=1 << 16,
    steps=2,
    compiler="eager",
    people=4,
    images=2,
    copies=2,
    queries=40,
    gallery=200,
    channels=8,
    loaders=((0, 0.0), (0, 1.0)),
)
"""Numbers of these mean nothing."""


class Machine:
    """The device, and what only a GPU can tell; on a CPU those are "–"."""

    def __init__(self, name: str) -> None:
        self.device = torch.device(name)
        self.on_gpu = name == "cuda"

    def seconds(self, work: Callable[[], object], times: int) -> float:
        """Return how long one `work` takes: the median of five rows of `times`, each waited for as a whole."""
        work()
        rows = []
        for _ in range(5):
            self.wait()
            began = time.perf_counter()
            for _ in range(times):
                work()
            self.wait()
            rows.append((time.perf_counter() - began) / times)
        return statistics.median(rows)

    def wait(self) -> None:
        """Wait until all is done."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def peak(self, work: Callable[[], object]) -> str:
        """Return the most memory in GB while `work` runs."""
        if not self.on_gpu:
            return "–"
        torch.cuda.reset_peak_memory_stats()
        work()
        return f"{torch.cuda.max_memory_allocated() / 1e9:.1f}"

    def waits(self, work: Callable[[], object]) -> str:
        """Return how often the host waits for the GPU in `work`."""
        if not self.on_gpu:
            return "–"
        torch.cuda.set_sync_debug_mode("warn")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
        torch.cuda.set_sync_debug_mode("default")
        return str(sum("synchronizing" in str(warning.message) for warning in caught))
