import pytest
import torch
from published import in_soliders_names, plain_swin, swin_state
from torch.nn import functional

from pirt.backbones.swin import SwinTransformer, swin_tiny
from pirt.core.errors import CheckpointError, DataError, ParamsError
from pirt.models import load_published

WIDTH, HEADS, DEPTHS = 8, 1, (2, 1, 2, 2)


def tiny(image_size=(64, 32), window=7, semantic_weight=None, drop_path=0.0, checkpointing=False):
    return SwinTransformer(image_size, WIDTH, HEADS, DEPTHS, window, drop_path, semantic_weight, checkpointing)


@pytest.fixture
def saved(tmp_path):
    def save(content):
        torch.save(content, tmp_path / "swin.pth")
        return str(tmp_path / "swin.pth")

    return save


def microsofts(state):
    buffers = {
        name.replace("bias_table", "index"): torch.zeros(49, 49, dtype=torch.long)
        for name in state
        if name.endswith("relative_position_bias_table")
    }
    buffers["layers.0.blocks.1.attn_mask"] = torch.zeros(4, 49, 49)
    return {"model": {**state, **buffers, "head.weight": torch.rand(9, 64), "head.bias": torch.rand(9)}}


WINDOWS = [pytest.param((64, 32), 7, marks=pytest.mark.slow), ((96, 64), 4), ((64, 32), 2)]


@pytest.mark.parametrize(("size", "window"), WINDOWS)
def test_equals_a_forward_pass_by_microsofts_names(saved, size, window):
    network, state = tiny(size, window).eval(), swin_state(WIDTH, HEADS, DEPTHS, window)
    assert load_published(network, saved(microsofts(state))) == ["left out head.bias, head.weight"]
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        found = network(images)
    assert found.shape == (2, 8 * WIDTH, size[0] // 32, size[1] // 32)
    torch.testing.assert_close(found, plain_swin(state, images, HEADS, window), atol=1e-5, rtol=0)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"teacher": {f"backbone.{n}": v for n, v in s.items()}}])
def test_soliders_names_load_with_their_semantic_layers(saved, wrap):
    ours = swin_state(WIDTH, HEADS, DEPTHS)
    theirs = in_soliders_names(ours, WIDTH)
    network = tiny(semantic_weight=0.2).eval()
    (note,) = load_published(network, saved(wrap(theirs)))
    assert note.startswith("left out norm0.bias, norm0.weight, norm1.bias")
    semantic = {name: value for name, value in theirs.items() if name.startswith("semantic_embed")}
    images = torch.randn(1, 3, 64, 32)
    for weight in (0.2, 0.9):
        network.semantic_weight = weight  # at run time
        with torch.no_grad():
            expected = plain_swin(ours | semantic, images, HEADS, semantic_weight=weight)
            torch.testing.assert_close(network(images), expected, atol=1e-5, rtol=0)


def test_semantic_layers_are_neither_trained_nor_lost(saved):
    theirs = in_soliders_names(swin_state(WIDTH, HEADS, DEPTHS), WIDTH)
    assert not any(p.requires_grad for name, p in tiny(semantic_weight=0.2).named_parameters() if "semantic" in name)
    with pytest.raises(CheckpointError, match=r"set backbone_options\.semantic_weight, theirs is 0\.2"):
        load_published(tiny(), saved(theirs))
    with pytest.raises(CheckpointError, match=r"missing: semantic_embed_b\.0\.bias"):
        load_published(tiny(semantic_weight=0.2), saved(swin_state(WIDTH, HEADS, DEPTHS)))


def test_biases_are_resampled_to_another_window(saved):
    network, state = tiny(window=4), swin_state(WIDTH, HEADS, DEPTHS)
    assert load_published(network, saved(state)) == ["relative position biases resampled from window 7 to 4"]
    for name, table in state.items():
        if name.endswith("bias_table"):
            heads = table.shape[1]
            for head in range(heads):
                grid = table[:, head].view(1, 1, 13, 13)
                expected = functional.interpolate(grid, (7, 7), mode="bicubic").flatten()
                assert torch.equal(network.state_dict()[name][:, head], expected)


@pytest.mark.parametrize(
    ("old", "new"),
    [("layers.2.blocks.1.attn.qkv.bias", "layers.2.blocks.1.attn.qvk.bias"), ("layers.0.downsample.norm.bias", None)],
)
def test_what_does_not_fit_is_listed_in_one_line(saved, old, new):
    state = swin_state(WIDTH, HEADS, DEPTHS)
    value = state.pop(old)
    if new:
        state[new] = value
    with pytest.raises(CheckpointError) as caught:
        load_published(tiny(), saved(state))
    assert f"missing: {old}" in str(caught.value)
    assert new is None or f"unexpected: {new}" in str(caught.value)
    assert "\n" not in str(caught.value)


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


def test_layers_count_from_the_embedding_to_the_heads():
    network = swin_tiny((64, 32), depths=(1, 1, 2, 1))
    found = {name: network.layer_of(name) for name, _ in network.named_parameters()}
    assert found["patch_embed.proj.bias"] == 0
    assert (found["layers.0.blocks.0.norm1.bias"], found["layers.0.downsample.norm.bias"]) == (1, 2)
    assert (found["layers.2.blocks.1.mlp.fc1.bias"], found["layers.3.blocks.0.attn.qkv.bias"]) == (4, 5)
    assert found["norm.weight"] == network.last_layer == 6


@pytest.mark.parametrize(
    ("choices", "words"),
    [({"image_size": (60, 32)}, "not a multiple of Swin's stride 32"), ({"window": 1}, "window = 1")],
)
def test_choices_that_do_not_fit_are_told(choices, words):
    with pytest.raises(ParamsError, match=words):
        tiny(**choices)


def test_images_of_another_size_are_told():
    with pytest.raises(DataError, match="images are 32×32, this backbone was built for 64×32"):
        tiny()(torch.zeros(1, 3, 32, 32))
