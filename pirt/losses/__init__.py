"""Metric losses on group features, one file each: `train.metric_loss` names the file that defines `metric_loss`."""

import re
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Protocol

from torch import Tensor

from pirt.core.errors import ParamsError


class MetricLoss(Protocol):
    """A loss of anchors A×C (or G×A×C) against the batch of all processes; see `pirt.losses.triplet`."""

    def __call__(
        self, anchors: Tensor, anchor_labels: Tensor, features: Tensor, labels: Tensor, margin: float | None
    ) -> Tensor:
        """Return one number."""


def metric_loss_named(name: str) -> MetricLoss:
    """Return the loss of the file `name` in this folder."""
    module = f"{__name__}.{name}"
    # The form first, since of a dotted name find_spec imports all but the last part.
    if not re.fullmatch(r"[a-z]\w*", name) or find_spec(module) is None:
        known = ", ".join(found.name for found in iter_modules(__path__))
        raise ParamsError(f"train.metric_loss = {name!r}: no such loss, expected one of {known}")
    loss: MetricLoss = import_module(module).metric_loss
    return loss
