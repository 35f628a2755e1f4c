"""Full networks against Hugging Face's, with weights in published names; slow, since importing the library is."""

import pytest
import torch
from published import swin_state, vit_state

from pirt.backbones.swin import swin_base, swin_tiny
from pirt.backbones.vit import vit_base, vit_small

pytestmark = pytest.mark.slow
SIZES = [(256, 128), (384, 128)]


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
@pytest.mark.parametrize(
    ("build", "width", "heads", "depths"), [(swin_tiny, 96, 3, (2, 2, 6, 2)), (swin_base, 128, 4, (2, 2, 18, 2))]
)
def test_swin_transformers(library, build, width, heads, depths, size):
    network = build(size).eval()
    state = {name: value / 4 if value.dim() == 2 else value for name, value in swin_state(width, heads, depths).items()}
    network.load_state_dict(state)
    images = torch.randn(1, 3, *size)
    with torch.no_grad():
        difference = network(images) - library.swin_features(state, images, heads, depths)
    assert difference.abs().max() <= 1e-5
