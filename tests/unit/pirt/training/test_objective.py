"""A step is one graph, waits for nothing and leaves evaluation uncompiled."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fake_device import FAULTS
from tiny_runs import SMALL

from pirt.models import build_pirt
from pirt.runs.params import TrainParams
from pirt.training.objective import TOTAL, Objective

IMAGE_SIZE = (64, 32)


def objective():
    torch.manual_seed(0)
    return Objective(build_pirt(5, image_size=IMAGE_SIZE, **SMALL.model_dump()), TrainParams(image_size=IMAGE_SIZE))


def batch(B=4):
    generator = torch.Generator().manual_seed(1)
    heatmaps = torch.rand(B, 17, 16, 8, generator=generator).pow(8)
    return torch.randn(B, 3, *IMAGE_SIZE, generator=generator), heatmaps, torch.arange(B) // 2


def breaks(module, *inputs):
    torch._dynamo.reset()
    report = torch._dynamo.explain(module)(*inputs)
    return report.graph_count, report.graph_break_count, [str(reason.reason) for reason in report.break_reasons]


@pytest.mark.parametrize("half", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["float32", "bfloat16"])
def test_forward_pass_and_losses_are_one_graph(half):
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        assert breaks(objective(), *batch()) == (1, 0, [])


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_an_evaluation_is_one_graph(half):
    with torch.autocast("cpu", torch.bfloat16, enabled=half), torch.no_grad():
        assert breaks(objective().network.eval(), *batch()[:2]) == (1, 0, [])


@pytest.mark.slow
def test_a_break_is_noticed():
    class Broken(Objective):
        def forward(self, images, heatmaps, labels):
            return Objective.forward(self, images * images.mean().item(), heatmaps, labels)

    whole = objective()
    assert breaks(Broken(whole.network, whole.recipe), *batch())[1] > 0


def test_only_the_total_learns_and_half_precision_reaches_no_loss():
    with torch.autocast("cpu", torch.bfloat16):
        values = objective()(*batch())
    assert {name for name, value in values.items() if value.requires_grad} == {TOTAL}
    assert {value.dtype for value in values.values()} == {torch.float32}


def run_on_fake_device(*arguments):
    here = Path(__file__).parent
    path = os.pathsep.join([*sys.path, str(here)])
    command = [sys.executable, str(here / "fake_device.py"), *arguments]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)


@pytest.fixture(scope="module")
def refused():
    """What was refused in steps on a pretended device, by name."""
    done = run_on_fake_device()
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["none, forward", "none, backward", "none, uneven grid", "none, semantic layers"])
def test_a_step_never_waits_for_its_device(refused, step):
    assert refused[step] == ""


@pytest.mark.slow
@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "none"])
def test_what_would_wait_is_noticed(refused, fault):
    assert refused[f"{fault}, forward"] != ""


@pytest.mark.slow
def test_what_would_wait_in_the_backward_pass_is_noticed():
    assert run_on_fake_device("a tensor of the host is copied").returncode != 0
