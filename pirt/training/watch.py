"""The values of each step, read one step late so that a GPU already has the next step to work on."""

import math
from typing import NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor

from pirt.core.errors import DivergenceError
from pirt.training.processes import mean_over_processes


class _Late(NamedTuple):
    step: int
    learning_rate: float
    names: tuple[str, ...]
    values: Tensor
    copied: torch.cuda.Event | None
    """When `values` have come from the GPU; a plain read would wait for the step after them too."""


class Watch:
    """Sums up the values of an epoch's steps, averaged over processes, and stops at one that is not finite."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._late: _Late | None = None
        self.sums: dict[str, float] = {}
        self.steps = 0
        self.stop = False
        """Whether any process was asked to stop."""

    def add(self, step: int, learning_rate: float, values: dict[str, Tensor], stop: bool) -> None:
        """Hand in the values of a step (scalars by name), and read those of the step before."""
        scalars = [value.detach().float() for value in values.values()]
        # The request to stop rides along, so that all processes see it after the same step.
        stacked = torch.stack([*scalars, torch.full_like(scalars[0], float(stop))])
        mean_over_processes(self._fabric, stacked)
        on_cpu, copied = stacked.to("cpu", non_blocking=True), None
        if stacked.is_cuda:
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record()
        self.flush()
        self._late = _Late(step, learning_rate, tuple(values), on_cpu, copied)

    def flush(self) -> None:
        """Read what has been handed in."""
        if self._late is None:
            return
        late, self._late = self._late, None
        if late.copied is not None:
            late.copied.synchronize()
        *values, stop = late.values.tolist()
        for name, value in zip(late.names, values, strict=True):
            if not math.isfinite(value):
                raise DivergenceError(
                    f"step {late.step}: {name} is {value} at learning rate {late.learning_rate:.3g}; lower "
                    "train.learning_rate, warm up for longer or train in a wider precision"
                )
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.steps += 1
        self.stop = self.stop or stop > 0

    def means(self) -> dict[str, float]:
        """Return the mean of each value so far."""
        return {name: total / self.steps for name, total in self.sums.items()}

    def start_epoch(self, sums: dict[str, float], steps: int) -> None:
        """Begin with what an earlier part of the epoch has summed up over its steps."""
        self.sums, self.steps = dict(sums), steps
