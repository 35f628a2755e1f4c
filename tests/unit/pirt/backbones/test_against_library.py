"""Full networks against Hugging Face's and OpenMMLab's, with weights in published names; slow, as imports are."""

import pytest
import torch
from published import swin_state, vit_state

from pirt.backbones.swin import resample_biases, swin_base, swin_small, swin_tiny
from pirt.backbones.vit import resample_positions, vit_base, vit_small
from pirt.models.pretrained import load_published

pytestmark = pytest.mark.slow
SIZES = [(256, 128), (384, 128)]
SWINS = [
    (swin_tiny, 96, 3, (2, 2, 6, 2)),
    (swin_small, 96, 3, (2, 2, 18, 2)),
    (swin_base, 128, 4, (2, 2, 18, 2)),
]


@pytest.fixture(scope="module")
def library():
    pytest.importorskip("transformers")
    import library_oracles

    return library_oracles


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("build", "C", "heads"), [(vit_small, 384, 6), (vit_base, 768, 12)])
def test_vision_transformers(library, build, C, heads, size):
    network = build(size).eval()
    state = vit_state(C, 12, size[0] * size[1] // 256)
    network.load_state_dict(state)
    images = torch.randn(1, 3, *size)
    with torch.no_grad():
        difference = network(images) - library.vit_features(state, images, heads, 12)
    assert difference.abs().max() <= 1e-5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("build", "width", "heads", "depths"), SWINS)
def test_swin_transformers(library, build, width, heads, depths, size):
    network = build(size).eval()
    state = {name: value / 4 if value.dim() == 2 else value for name, value in swin_state(width, heads, depths).items()}
    network.load_state_dict(state)
    images = torch.randn(1, 3, *size)
    with torch.no_grad():
        difference = network(images) - library.swin_features(state, images, heads, depths)
    assert difference.abs().max() <= 1e-5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("build", "width", "heads", "depths"), SWINS)
def test_swin_transformers_of_openmmlab(tmp_path, build, width, heads, depths, size):
    pytest.importorskip("mmpose")
    from pirt_stages.pose.networks.openmmlab import MODELS

    heads_of = [heads << stage for stage in range(4)]
    theirs = MODELS.get("SwinTransformer")(embed_dims=width, depths=depths, num_heads=heads_of)
    theirs.eval()  # returns None there
    with torch.no_grad():
        for value in theirs.parameters():
            value += 0.02 * torch.randn_like(value)  # norms and biases start as 1 and 0, which would hide a mix-up
    torch.save(
        {"state_dict": {f"backbone.{name}": value for name, value in theirs.state_dict().items()}},
        tmp_path / "swin.pth",
    )
    ours = build(size).eval()
    load_published(ours, str(tmp_path / "swin.pth"))
    images = torch.randn(1, 3, *size)
    with torch.no_grad():
        difference = ours(images) - theirs(images)[-1]
    assert difference.abs().max() <= 1e-5


@pytest.mark.parametrize(("side", "new"), [(14, (24, 14)), (8, (16, 8)), (8, (24, 10)), (8, (31, 10))])
def test_positions_are_resampled_as_the_library_does(library, side, new):
    positions = torch.randn(1, 1 + side * side, 5)
    found = resample_positions(positions, (side, side), new)
    expected = library.positions_resampled(positions[0, 1:].reshape(side, side, 5), new)
    torch.testing.assert_close(found[0, 1:], expected, atol=1e-5, rtol=0)
    assert torch.equal(found[:, :1], positions[:, :1])


@pytest.mark.parametrize(("window", "other"), [(7, 12), (12, 7), (7, 4)])
def test_biases_are_resampled_as_the_library_does(library, window, other):
    table, places = torch.randn((2 * window - 1) ** 2, 3), (2 * other - 1) ** 2
    expected = library.table_resampled(table, 2 * other - 1)
    torch.testing.assert_close(resample_biases(table, places), expected, atol=1e-5, rtol=0)
