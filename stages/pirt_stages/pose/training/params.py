"""The parameters of `pirt-pose train`, checked once."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from pirt.core.params import (
    LONGEST_SIDE,
    BatchSize,
    Channels,
    Frozen,
    Positive,
    PositiveRate,
    Rate,
    Seed,
    Size,
    checked,
    mapping,
    read_sections,
)


class PoseTrainParams(Frozen):
    """How the small network is built and trained; the defaults fit two CPU cores and two minutes."""

    seed: Seed = 0
    epochs: Positive = 12
    input_size: Size = (128, 64)
    """Height and width, multiples of 32."""
    # With peaks of one cell, half a cell of an edge was a third of a mask.
    sigma: Annotated[float, Field(gt=0, le=LONGEST_SIDE)] = 2.0
    """Standard deviation of the target peaks, in heatmap cells."""
    channels: Channels = 16
    """Of HRNet's finest branch; each coarser branch has twice as many."""
    batch_size: BatchSize = 32
    learning_rate: PositiveRate = 2e-3
    weight_decay: Rate = 1e-4
    init_from: str | None = None
    """A file or URL with weights of the same network, to go on from; None draws them."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.125
    """Share of the training identities that only measure; at least one does, and one does not."""


def load_train_params(path: Path | None) -> PoseTrainParams:
    """Read the section `pose.train` of a parameter file; without a file, the defaults."""
    pose = {} if path is None else mapping(read_sections(path).get("pose"), f"{path}, section pose")
    return checked(
        PoseTrainParams, mapping(pose.get("train"), f"{path}, section pose.train"), f"{path}, section pose.train"
    )
