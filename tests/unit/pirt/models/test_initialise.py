"""Every tensor outside the backbone is drawn from the authors' distribution: mean, deviation and bounds."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from pirt.models import build_pirt
from pirt.models.initialise import init_intra_part
from pirt.models.intra_part import IntraPart


@dataclass(frozen=True)
class Drawn:
    """A distribution; `bound` is None where it has none."""

    mean: float
    std: float
    bound: float | None = None


def constant(value: float) -> Drawn:
    return Drawn(value, 0.0, abs(value))


def normal(std: float, mean: float = 0.0) -> Drawn:
    return Drawn(mean, std)


def uniform(bound: float) -> Drawn:
    return Drawn(0.0, bound / math.sqrt(3), bound)


C, D, HIDDEN, FEEDFORWARD = 512, 128, 96, 160

EXPECTED: dict[str, Drawn] = {
    # Convolutions: Kaiming, fan-out; the IRM's q, k, v and W_H are such ones.
    r"intra\.encode\.0\.weight": normal(math.sqrt(2 / D)),
    r"intra\.decode\.0\.weight": normal(math.sqrt(2 / C)),
    r"intra\.attention\.(qkv|projection)\.weight": normal(math.sqrt(2 / D)),
    r"intra\.encode\.1\.IN\.weight": constant(1),
    r"intra\.(encode\.1\.BN|norm|decode\.1)\.weight": normal(0.02, mean=1),
    r"intra\..*\.bias": constant(0),
    # One matrix of 3C rows and C columns, by Xavier.
    r"inter\.units\.\d\.attention\.qkv\.weight": uniform(math.sqrt(6 / (3 * C + C))),
    r"inter\.units\.\d\.(attention\.projection|feedforward\.[03])\.weight": normal(0.01),
    r"inter\.units\.\d\.norm[12]\.weight": constant(1),
    r"inter\..*\.bias": constant(0),
    # PyTorch's own for linear layers: one over the root of what comes in bounds both.
    r"confidence\.mlp\.0\.(weight|bias)": uniform(1 / math.sqrt(C)),
    r"confidence\.mlp\.2\.(weight|bias)": uniform(1 / math.sqrt(HIDDEN)),
    r"(global|group)_neck\.classifier": normal(0.001),
    r"(global|group)_neck\.norm\.weight": normal(0.02, mean=1),
    r"(global|group)_neck\.norm\.bias": constant(0),
}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_pirt(50, backbone="resnet18_ibn_a", bottleneck=D, feedforward=FEEDFORWARD, confidence_hidden=HIDDEN)


def expected_of(name: str) -> Drawn:
    (found,) = (drawn for pattern, drawn in EXPECTED.items() if re.fullmatch(pattern, name))
    return found


def assert_drawn(value: Tensor, drawn: Drawn) -> None:
    value, count = value.detach().double().flatten(), value.numel()
    five_sigma = 5 / math.sqrt(count)
    assert abs(value.mean() - drawn.mean) <= five_sigma * drawn.std + 1e-12
    if count > 1:
        assert abs(value.std() - drawn.std) <= five_sigma * drawn.std + 1e-12
    if drawn.bound is not None:
        assert value.abs().max() <= drawn.bound + 1e-6
        assert value.abs().max() >= drawn.bound * (1 - 10 / count)


def test_every_tensor_outside_the_backbone(model):
    ours = {name: value for name, value in model.named_parameters() if not name.startswith("backbone.")}
    for name, value in ours.items():
        assert_drawn(value, expected_of(name))
    assert all(any(re.fullmatch(pattern, name) for name in ours) for pattern in EXPECTED)


def test_the_backbone_is_drawn_as_for_imagenet(model):
    for name, value in model.backbone.named_parameters():
        if value.dim() == 4:
            fan_out = value.shape[0] * value.shape[2] * value.shape[3]
            assert_drawn(value, normal(math.sqrt(2 / fan_out)))
        else:
            assert_drawn(value, constant(float(name.endswith("weight"))))


def test_the_units_share_one_draw_of_q_k_and_v_and_no_other(model):
    first, *others = model.inter.units
    for unit in others:
        assert torch.equal(unit.attention.qkv.weight, first.attention.qkv.weight)
        assert unit.attention.qkv.weight.data_ptr() != first.attention.qkv.weight.data_ptr()
        assert not torch.equal(unit.feedforward[0].weight, first.feedforward[0].weight)


def rms(values: Tensor) -> float:
    return values.square().mean().sqrt().item()


@pytest.mark.parametrize("projection", [True, False])
def test_the_attention_is_as_strong_as_what_it_is_added_to(projection):
    torch.manual_seed(0)
    module = IntraPart(2048, 512, 4, projection=projection, dropout=0.0)
    init_intra_part(module)
    inside: dict[str, float] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(_module: object, _inputs: object, output: Tensor) -> None:
            inside[name] = rms(output)

        return hook

    module.encode.register_forward_hook(note("F_phi"))
    module.attention.register_forward_hook(note("attention"))
    with torch.no_grad():
        module(torch.randn(2, 2048, 24, 8).relu(), torch.ones(2, 1, 24, 8))
    assert 0.5 < inside["attention"] / inside["F_phi"] < 1.5
