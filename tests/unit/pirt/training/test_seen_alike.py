"""Processes of several nodes that do not see the same files must not train together."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist

from pirt.core.errors import CheckpointError
from pirt.training.processes import require_seen_alike


@pytest.mark.parametrize(("own", "other", "fits"), [(0, 0, True), (500, 500, True), (500, 0, False), (0, 500, False)])
def test_all_go_on_from_the_same_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: int, other: int, fits: bool
) -> None:
    def reduced(extremes: torch.Tensor, how: Any) -> None:
        assert how is dist.ReduceOp.MAX
        torch.maximum(extremes, torch.tensor([other, -other]), out=extremes)

    monkeypatch.setattr(dist, "all_reduce", reduced)
    fabric: Any = SimpleNamespace(world_size=2, device=torch.device("cpu"))
    if fits:
        require_seen_alike(fabric, own, tmp_path)
        return
    with pytest.raises(CheckpointError, match=r"find different files at .*; put them where all nodes see the same"):
        require_seen_alike(fabric, own, tmp_path)


def test_one_process_asks_nobody(tmp_path: Path) -> None:
    fabric: Any = SimpleNamespace(world_size=1)
    require_seen_alike(fabric, 3, tmp_path)
