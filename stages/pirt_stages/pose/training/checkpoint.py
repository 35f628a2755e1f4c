"""MMEngine checkpoints, written by us."""

import io
from typing import Any

import torch
from torch import nn

from pirt_stages.pose.networks.openmmlab import VERSION


def checkpoint_bytes(estimator: nn.Module, meta: dict[str, Any]) -> bytes:
    """Return an MMEngine checkpoint, `{"meta", "state_dict"}`; no clock, so the same weights give the same bytes."""
    # PyTorch saves how values lie, and training lays them out channels last.
    state = {name: value.cpu().contiguous() for name, value in estimator.state_dict().items()}
    # Written through memory: torch would put the file's name into the archive.
    buffer = io.BytesIO()
    torch.save({"meta": {"mmpose_version": VERSION, **meta}, "state_dict": state}, buffer)
    return buffer.getvalue()
