"""A GPU is handed batches without waiting for those before them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pirt_stages.pose.extraction import running
from pirt_stages.pose.extraction.geometry import sent
from pirt_stages.pose.extraction.inference import Coming
from pirt_stages.pose.extraction.reading import Inputs


@pytest.mark.slow
def test_a_batch_never_waits_for_its_device() -> None:
    program = Path(__file__).parent / "extraction_on_fake_device.py"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, str(program)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    refused = json.loads(done.stdout)
    assert "_to_copy" in refused.pop("planted")
    assert refused == {"resize": "", "topdown": "", "flip test": ""}


def test_only_what_goes_to_a_gpu_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    values = torch.zeros(2)
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: done.append("pinned") or self)
    assert sent(values, torch.device("cpu")) is values
    assert done == []
    to = SimpleNamespace(to=lambda device, non_blocking: done.append((device.type, non_blocking)))
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: done.append("pinned") or to)
    sent(values, torch.device("cuda"))
    assert done == ["pinned", ("cuda", True)]


class _Copy:
    """Stands for a copy from a GPU that ends once `following` has been handed over."""

    def __init__(self, following: Event) -> None:
        self.following = following

    def synchronize(self) -> None:
        assert self.following.wait(10), "waited for a batch before the next was handed over"


def test_a_gpu_has_the_next_batch_before_anyone_waits_for_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    given = [Event() for _ in range(4)]
    given[3].set()

    def coming(network: object, geometry: object, inputs: Any, *_: object) -> Coming:
        batch = int(inputs[0, 0, 0, 0])
        given[batch].set()
        return Coming(torch.full((1, 17, 1, 1), float(batch)), _Copy(given[batch + 1]))  # type: ignore[arg-type]

    monkeypatch.setattr(running, "load_network", lambda source: None)
    monkeypatch.setattr(running, "coming_heatmaps", coming)
    source: Any = SimpleNamespace(flip_test=False, device="cuda")
    batches = (Inputs(np.full((1, 1, 1, 3), number, np.uint8), np.ones((1, 2), np.int64)) for number in range(3))
    with running.NetworkThreads(source, None) as network:  # type: ignore[arg-type]
        assert [float(heatmaps.max()) for heatmaps in network.heatmaps(batches)] == [0, 1, 2]
