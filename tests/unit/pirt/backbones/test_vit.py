import argparse

import pytest
import torch
from published import conv_stem_state, plain_vit, vit_state
from torch.nn import functional

from pirt.backbones.vit import VisionTransformer, grid_of_positions, resample_positions, vit_small
from pirt.core.errors import CheckpointError, DataError, ParamsError
from pirt.models import load_published

C, HEADS, DEPTH = 24, 3, 2


def tiny(image_size=(64, 32), patch_stride=(16, 16), drop_path=0.0, conv_stem=False, checkpointing=False):
    return VisionTransformer(image_size, C, HEADS, DEPTH, patch_stride, drop_path, conv_stem, checkpointing)


@pytest.fixture
def saved(tmp_path):
    def save(content):
        torch.save(content, tmp_path / "vit.pth")
        return str(tmp_path / "vit.pth")

    return save


@pytest.mark.parametrize(("size", "stride", "grid"), [((64, 32), 16, (4, 2)), ((76, 40), 12, (6, 3))])
def test_equals_a_forward_pass_by_names(size, stride, grid):
    network = tiny(size, (stride, stride)).eval()
    state = vit_state(C, DEPTH, grid[0] * grid[1])
    network.load_state_dict(state)
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        found = network(images)
    assert found.shape == (2, C, *grid) == (2, network.feature_channels, *network.grid(size))
    torch.testing.assert_close(found, plain_vit(state, images, HEADS, stride), atol=1e-5, rtol=0)


def test_the_conv_stem_is_transreid_ssls():
    network = tiny(conv_stem=True).eval()
    state = vit_state(C, DEPTH, 8, patch=8, fed=64) | conv_stem_state()
    network.load_state_dict(state)

    def normed(x, name):
        half, BN = x.shape[1] // 2, f"patch_embed.conv.{name}.BN"
        instance = functional.instance_norm(
            x[:, :half],
            weight=state[f"patch_embed.conv.{name}.IN.weight"],
            bias=state[f"patch_embed.conv.{name}.IN.bias"],
        )
        batch = functional.batch_norm(
            x[:, half:],
            *(state[f"{BN}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")),
        )
        return torch.cat([instance, batch], dim=1).relu()

    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        x = normed(functional.conv2d(images, state["patch_embed.conv.0.weight"], stride=2, padding=3), 1)
        x = normed(functional.conv2d(x, state["patch_embed.conv.3.weight"], padding=1), 4)
        x = functional.conv2d(x, state["patch_embed.conv.6.weight"], padding=1)
        last = (state[f"patch_embed.conv.7.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias"))
        expected = plain_vit(state, functional.batch_norm(x, *last).relu(), HEADS, 8)
        torch.testing.assert_close(network(images), expected, atol=1e-5, rtol=0)


WRAPPINGS = {
    "timm": lambda state: state | {"head.weight": torch.rand(9, C), "head.bias": torch.rand(9)},
    "DINO": lambda state: {
        "student": {f"module.backbone.{name}": value + 1 for name, value in state.items()},
        "teacher": {f"backbone.{name}": value for name, value in state.items()} | {"head.mlp.0.weight": torch.rand(2)},
        "epoch": 7,
        "args": argparse.Namespace(arch="vit_small", patch_size=16),
    },
    "a student alone": lambda state: {
        "student": {f"module.backbone.{name}": value for name, value in state.items()}
        | {"module.head.last_layer.weight_g": torch.rand(2), "module.backbone.masked_embed": torch.rand(1, C)}
    },
    "TransReID": lambda state: (
        {f"base.{name}": value for name, value in state.items()}
        | {"base.fc.weight": torch.rand(2), "classifier.weight": torch.rand(2), "bottleneck.bias": torch.rand(2)}
    ),
    "a model": lambda state: {"model": {f"module.{name}": value for name, value in state.items()}},
}


@pytest.mark.parametrize("wrapped", WRAPPINGS.values(), ids=WRAPPINGS)
def test_published_wrappings_are_taken_off_by_name(saved, wrapped):
    state, network = vit_state(C, DEPTH, 8), tiny()
    notes = load_published(network, saved(wrapped(state)))
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    inner = wrapped(state)
    inner = inner.get("teacher") or inner.get("student") or inner.get("model") or inner
    more = len(inner) - len(state)
    assert notes == [note for note in notes if note.startswith("left out ")]
    assert sum(note.count(",") + 1 for note in notes) == more


@pytest.mark.parametrize(("old", "count"), [((14, 14), 196), ((16, 8), 128), ((24, 8), 192), ((12, 4), 48)])
def test_positions_are_resampled_from_the_grid_that_their_number_tells(saved, old, count):
    assert grid_of_positions(count) == old
    state, network = vit_state(C, DEPTH, count), tiny((128, 48))
    notes = load_published(network, saved(state))
    assert notes == [f"positions resampled from {old[0]}×{old[1]} to 8×3 patches"]
    token, grid = state["pos_embed"][:, :1], state["pos_embed"][:, 1:]
    assert torch.equal(network.pos_embed[:, :1], token)
    for row in range(8):
        for column in range(3):
            # Bilinear between centres of cells.
            y = min(max((row + 0.5) * old[0] / 8 - 0.5, 0), old[0] - 1)
            x = min(max((column + 0.5) * old[1] / 3 - 0.5, 0), old[1] - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, old[0] - 1), min(left + 1, old[1] - 1)
            cell = grid[0].view(*old, C)
            upper = cell[top, left] * (1 - x + left) + cell[top, right] * (x - left)
            lower = cell[bottom, left] * (1 - x + left) + cell[bottom, right] * (x - left)
            expected = upper * (1 - y + top) + lower * (y - top)
            torch.testing.assert_close(network.pos_embed[0, 1 + row * 3 + column], expected, atol=1e-5, rtol=0)


def test_positions_of_no_known_grid_are_refused(saved):
    with pytest.raises(
        CheckpointError, match=r"vit\.pth holds pos_embed of 210 positions, which do not form a grid of 1 or 2"
    ):
        load_published(tiny(), saved(vit_state(C, DEPTH, 210)))


def test_positions_of_the_same_grid_stay_as_they_are():
    positions = torch.randn(1, 9, C)
    torch.testing.assert_close(resample_positions(positions, (4, 2), (4, 2)), positions)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda s: s.update({"blocks.1.attn.qvk.bias": s.pop("blocks.1.attn.qkv.bias")}),
            "missing: blocks.1.attn.qkv.bias; unexpected: blocks.1.attn.qvk.bias",
        ),
        (lambda s: [s.pop(name) for name in [*s] if name.startswith("blocks.1.")], "missing: blocks.1.attn.proj.bias"),
        (lambda s: s.update(sie_embed=torch.rand(2, 1, C)), "unexpected: sie_embed"),
        (lambda s: (s.clear(), s.update({"conv1.weight": torch.rand(2)})), "unexpected: conv1.weight"),
    ],
)
def test_what_does_not_fit_is_listed_in_one_line_and_nothing_is_loaded(saved, change, words):
    state, network = vit_state(C, DEPTH, 8), tiny()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    change(state)
    with pytest.raises(CheckpointError) as caught:
        load_published(network, saved(state))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_recomputed_blocks_give_the_same_gradients():
    images = torch.randn(2, 3, 64, 32)
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        network = tiny(checkpointing=checkpointing, drop_path=0.5).train()
        torch.manual_seed(1)
        network(images).square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_drop_path_leaves_out_whole_images_and_keeps_the_mean():
    network = tiny(drop_path=0.5).train()
    images = torch.randn(1, 3, 64, 32).expand(400, -1, -1, -1)
    torch.manual_seed(0)
    features = network(images).detach().flatten(1)
    # Threads may round an image of the batch otherwise than its neighbour.
    same = torch.cdist(features, features) < 1e-3
    assert 1 < len(same.unique(dim=0)) <= 4  # two branches of the last block, dropped or not
    assert torch.equal(network.eval()(images[:1]), network(images[:1]))


def test_layers_count_from_the_embedding_to_the_heads():
    network = vit_small((64, 32), depth=3)
    found = {name: network.layer_of(name) for name, _ in network.named_parameters()}
    assert (found["cls_token"], found["pos_embed"], found["patch_embed.proj.bias"]) == (0, 0, 0)
    assert (found["blocks.0.norm1.bias"], found["blocks.2.mlp.fc2.weight"]) == (1, 3)
    assert found["norm.weight"] == network.last_layer == 4


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"patch_stride": (12, 12), "conv_stem": True}, "with conv_stem"),
        ({"image_size": (8, 32)}, "no whole patch"),
        ({"drop_path": 1.0}, "drop_path = 1.0"),
    ],
)
def test_choices_that_do_not_fit_are_told(choices, words):
    with pytest.raises(ParamsError, match=words):
        tiny(**choices)


def test_images_of_another_size_are_told():
    with pytest.raises(DataError, match="images are 32×32, this backbone was built for 64×32"):
        tiny()(torch.zeros(1, 3, 32, 32))
