"""Global batch norm in one process of a group must be PyTorch's own; two processes are tested by whole trainings."""

import socket

import pytest
import torch
import torch.distributed as dist
from tiny_runs import SMALL
from torch import nn

from pirt.models import build_pirt
from pirt.runs.params import TrainParams
from pirt.training.objective import Objective
from pirt.training.processes import GlobalBatchNorm, share_batch_norm


@pytest.fixture
def group():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize(("norm", "shape"), [(nn.BatchNorm1d, (6, 4)), (nn.BatchNorm2d, (3, 4, 5, 2))])
def test_it_is_batch_norm(group, norm, shape):
    torch.manual_seed(0)
    own = norm(4).double()
    nn.init.normal_(own.weight)
    nn.init.normal_(own.bias)
    shared = GlobalBatchNorm.like(norm(4).double())
    shared.load_state_dict(own.state_dict())
    for _ in range(2):
        features = torch.randn(shape, dtype=torch.float64) * 3 + 1
        one, two = features.clone().requires_grad_(), features.clone().requires_grad_()
        outputs = own(one), shared(two)
        torch.testing.assert_close(outputs[1], outputs[0], atol=1e-12, rtol=0)
        upstream = torch.randn(shape, dtype=torch.float64)
        for output in outputs:
            output.backward(upstream)
        torch.testing.assert_close(two.grad, one.grad, atol=1e-12, rtol=0)
        torch.testing.assert_close(shared.weight.grad, own.weight.grad, atol=1e-12, rtol=0)
        torch.testing.assert_close(shared.bias.grad, own.bias.grad, atol=1e-12, rtol=0)
    for name, value in own.state_dict().items():
        torch.testing.assert_close(shared.state_dict()[name], value, atol=1e-12, rtol=0)
    own.eval()
    shared.eval()
    torch.testing.assert_close(shared(features), own(features), atol=1e-12, rtol=0)


# PyTorch's own compiler uses what PyTorch deprecates.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.slow
def test_it_is_compiled_without_breaks_with_the_losses_of_two_processes(group):
    network = build_pirt(5, image_size=(64, 32), **SMALL.model_dump())
    share_batch_norm(network, synchronised=False)
    objective = Objective(network, TrainParams(), rank=1, ranks=2)
    torch._dynamo.reset()
    report = torch._dynamo.explain(objective)(torch.randn(4, 3, 64, 32), torch.rand(4, 17, 16, 8), torch.arange(4) // 2)
    assert (report.graph_count, report.graph_break_count) == (1, 0), report.break_reasons


def test_in_half_precision_it_gives_half_precision(group):
    norm = GlobalBatchNorm.like(nn.BatchNorm2d(4))
    assert norm(torch.randn(3, 4, 5, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_every_batch_norm_is_replaced_and_the_state_dict_stays():
    network = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.BatchNorm1d(4), nn.BatchNorm1d(4)), nn.BatchNorm1d(4))
    network[2].bias.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    share_batch_norm(network, synchronised=False)
    assert [type(module) for module in network.modules()].count(GlobalBatchNorm) == 3
    assert not network[2].bias.requires_grad
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
