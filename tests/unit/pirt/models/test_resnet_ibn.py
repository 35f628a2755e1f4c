import math

import pytest
import torch
from model_oracles import ibn, randomise
from torch.nn import functional

from pirt.core.errors import ParamsError
from pirt.models import build_pirt
from pirt.models.resnet_ibn import (
    IBN,
    resnet18_ibn_a,
    resnet34_ibn_a,
    resnet50_ibn_a,
    resnet101_ibn_a,
)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("channels", [6, 7])
def test_ibn_is_instance_norm_then_batch_norm(training, channels):
    norm = randomise(IBN(channels)).train(training)
    features = torch.randn(3, channels, 4, 5, dtype=torch.float64)
    with torch.no_grad():
        expected = ibn(features.flatten(2), norm).view_as(features)
        assert (norm(features) - expected).abs().max() <= 1e-9


def plain_padded_pool(x):
    return functional.max_pool2d(x, 3, 2, 1)


def plain_ceil_pool(x):
    """Windows of 3 that start at every second cell, cut off at the edge."""
    rows, columns = (range(0, max(size - 1, 1), 2) for size in x.shape[2:])
    return torch.stack(
        [torch.stack([x[:, :, y : y + 3, z : z + 3].amax(dim=(2, 3)) for z in columns], dim=2) for y in rows], dim=2
    )


def plain_resnet(state, images, depths, strides, convs, pool=plain_padded_pool):
    """Forward pass read off the state dict's names; `convs` are (kernel, carries the stride) within a block."""

    def bn(x, name):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return functional.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(x, name):
        if f"{name}.IN.weight" not in state:
            return bn(x, name)
        half = x.shape[1] // 2
        instance = functional.instance_norm(
            x[:, :half], weight=state[f"{name}.IN.weight"], bias=state[f"{name}.IN.bias"]
        )
        return torch.cat([instance, bn(x[:, half:], f"{name}.BN")], dim=1)

    x = functional.conv2d(images, state["conv1.weight"], stride=2, padding=3)
    x = pool(bn(x, "bn1").relu())
    for layer, (depth, layer_stride) in enumerate(zip(depths, strides, strict=True), start=1):
        for i in range(depth):
            block, stride = f"layer{layer}.{i}", layer_stride if i == 0 else 1
            out = x
            for n, (kernel, strided) in enumerate(convs, start=1):
                weight = state[f"{block}.conv{n}.weight"]
                out = functional.conv2d(out, weight, stride=stride if strided else 1, padding=kernel // 2)
                out = norm(out, f"{block}.bn{n}")
                out = out.relu() if n < len(convs) else out
            if f"{block}.downsample.0.weight" in state:
                x = functional.conv2d(x, state[f"{block}.downsample.0.weight"], stride=stride)
                x = bn(x, f"{block}.downsample.1")
            x = (out + x).relu()
    return x


BASIC = ((3, True), (3, False))
BOTTLENECK = ((1, False), (3, True), (1, False))


@pytest.mark.parametrize(
    ("build", "depths", "strides", "convs", "channels"),
    [
        (resnet18_ibn_a, (2, 2, 2, 2), (1, 2, 1, 1), BASIC, 32),
        (resnet34_ibn_a, (3, 4, 6, 3), (2, 1, 2, 1), BASIC, 32),
        (resnet50_ibn_a, (3, 4, 6, 3), (1, 2, 2, 1), BOTTLENECK, 128),
        (resnet101_ibn_a, (3, 4, 23, 3), (1, 2, 2, 2), BOTTLENECK, 128),
    ],
)
def test_equals_a_forward_pass_by_names(build, depths, strides, convs, channels):
    network = build(width=4, strides=strides)
    assert network.feature_channels == channels
    randomise(network).eval()
    images = torch.randn(2, 3, 64, 32, dtype=torch.float64)
    with torch.no_grad():
        found = network(images)
        expected = plain_resnet(network.state_dict(), images, depths, strides, convs)
    stride = 4 * math.prod(strides)
    assert found.shape == (2, channels, 64 // stride, 32 // stride)
    assert ((found - expected).abs() / expected.abs().max()).max() <= 1e-9


@pytest.mark.parametrize("size", [(64, 32), (62, 30)])
def test_the_authors_stem_pools_without_padding(size):
    network = resnet18_ibn_a(width=4, strides=(1, 2, 1, 1), stem_pool="ceil")
    randomise(network).eval()
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        found, state = network(images), network.state_dict()
        expected = plain_resnet(state, images, (2, 2, 2, 2), (1, 2, 1, 1), BASIC, plain_ceil_pool)
    assert ((found - expected).abs() / expected.abs().max()).max() <= 1e-9


def test_the_stem_pool_is_a_choice_for_resnets():
    torch.manual_seed(0)
    padded, ceil = (
        build_pirt(2, backbone="resnet18_ibn_a", width=4, stem_pool=pool).backbone.maxpool
        for pool in ("padded", "ceil")
    )
    assert (padded.padding, padded.ceil_mode, ceil.padding, ceil.ceil_mode) == (1, False, 0, True)
    with pytest.raises(ParamsError, match="backbone vit_small takes no option 'stem_pool'"):
        build_pirt(2, backbone="vit_small", stem_pool="ceil")


def test_the_paper_s_image_gives_the_paper_s_grid():
    with torch.device("meta"):
        features = resnet50_ibn_a()(torch.empty(1, 3, 384, 128))
    assert features.shape == (1, 2048, 24, 8)
