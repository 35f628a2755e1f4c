from copy import deepcopy

import pytest
import torch

from pirt.models import build_pirt
from pirt.runs.params import TrainParams
from pirt.training.optimizer import make_optimizer, set_learning_rate, take_up

TINY = {"bottleneck": 8, "feedforward": 8, "inter_layers": 1, "image_size": (64, 32)}


@pytest.fixture(scope="module")
def network():
    return build_pirt(3, backbone="vit_small", backbone_options={"depth": 2}, **TINY)


def rates(network, optimizer):
    rate_of = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    return {name: rate_of[id(parameter)] for name, parameter in network.named_parameters() if parameter.requires_grad}


def test_each_layer_learns_at_its_share_of_the_rate_of_the_next(network):
    optimizer = make_optimizer(network, TrainParams(optimizer="sgd", layer_decay=0.5))
    set_learning_rate(optimizer, 0.8)
    found = rates(network, optimizer)
    expected = {"backbone.pos_embed": 0.1, "backbone.blocks.0.attn.qkv.bias": 0.2, "backbone.blocks.1.norm1.bias": 0.4}
    expected |= {"backbone.norm.weight": 0.8, "intra.norm.weight": 0.8, "global_neck.classifier": 0.8}
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert len(found) == sum(parameter.requires_grad for parameter in network.parameters())


def test_without_decay_there_is_one_group_in_the_networks_order(network):
    (group,) = make_optimizer(network, TrainParams()).param_groups
    assert [id(one) for one in group["params"]] == [id(one) for one in network.parameters() if one.requires_grad]


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ({}, (torch.optim.Adam, {"lr": 3.5e-4, "weight_decay": 5e-4})),
        ({"optimizer": "adamw", "weight_decay": 0.05}, (torch.optim.AdamW, {"weight_decay": 0.05})),
        ({"optimizer": "sgd", "momentum": 0.8}, (torch.optim.SGD, {"momentum": 0.8, "weight_decay": 5e-4})),
    ],
)
def test_the_recipe_names_the_optimizer(network, choices, expected):
    kind, settings = expected
    optimizer = make_optimizer(network, TrainParams(**choices))
    assert type(optimizer) is kind
    assert {name: optimizer.defaults[name] for name in settings} == settings


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_one_kernel_takes_many_parameters(network, kind):
    assert make_optimizer(network, TrainParams(optimizer=kind)).defaults["fused"]


def test_soliders_semantic_layers_do_not_learn():
    swin = build_pirt(
        3, backbone="swin_tiny", backbone_options={"depths": [1, 1, 1, 1], "semantic_weight": 0.2}, **TINY
    )
    learning = {id(one) for group in make_optimizer(swin, TrainParams()).param_groups for one in group["params"]}
    assert not any(id(value) in learning for name, value in swin.named_parameters() if "semantic" in name)


def stepped(layer, optimizer, seed):
    gradient = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(seed))
    layer.weight.grad = torch.empty_like(layer.weight).copy_(gradient)
    optimizer.step()


@pytest.mark.parametrize(
    "optimizer_of",
    [
        lambda values: torch.optim.Adam(values, 0.1, fused=True),
        lambda values: torch.optim.SGD(values, 0.1, momentum=0.9, fused=True),
    ],
    ids=["adam", "sgd"],
)
@pytest.mark.parametrize(
    ("there", "here"),
    [(torch.channels_last, torch.contiguous_format), (torch.contiguous_format, torch.channels_last)],
    ids=["of a GPU", "of a CPU"],
)
def test_a_state_goes_on_on_another_kind_of_device(optimizer_of, there, here):
    layers = [torch.nn.Conv2d(3, 4, 3, bias=False).to(memory_format=order) for order in (there, here)]
    layers[1].load_state_dict(layers[0].state_dict())
    optimizers = [optimizer_of(layer.parameters()) for layer in layers]
    stepped(layers[0], optimizers[0], seed=0)
    layers[1].load_state_dict(layers[0].state_dict())
    take_up(optimizers[1], deepcopy(optimizers[0].state_dict()))  # as a file would hold it
    for layer, optimizer in zip(layers, optimizers, strict=True):
        stepped(layer, optimizer, seed=1)
    assert layers[0].weight.stride() != layers[1].weight.stride()
    torch.testing.assert_close(layers[1].weight, layers[0].weight)
