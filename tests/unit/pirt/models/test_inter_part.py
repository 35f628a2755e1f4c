import pytest
import torch
from model_oracles import inter_part, randomise
from torch import nn

from pirt.models.inter_part import InterPart, TransformerUnit, patch_tokens, stripe_tokens


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_equals_the_equations(layers):
    module = randomise(InterPart(12, layers, 3, 7, dropout=0.1)).eval()
    tokens = torch.randn(2, 5, 12, dtype=torch.float64)
    expected = torch.stack([inter_part(sequence, module) for sequence in tokens])
    assert (module(tokens) - expected).abs().max() <= 1e-9


def test_padded_sequences_equal_each_sequence_alone():
    module = randomise(InterPart(12, 3, 3, 7, dropout=0.1)).eval()
    tokens = torch.randn(3, 6, 12, dtype=torch.float64)
    valid = torch.arange(6) < torch.tensor([5, 6, 1])[:, None]
    found = module(tokens, valid)
    for n, length in enumerate((5, 6, 1)):
        assert (found[n] - inter_part(tokens[n, :length], module)).abs().max() <= 1e-9


def test_a_unit_is_pytorch_s_post_norm_encoder_layer():
    unit = randomise(TransformerUnit(12, 3, 7, dropout=0.0))
    layer = nn.TransformerEncoderLayer(12, 3, 7, dropout=0.0, batch_first=True).double()
    names = {
        "self_attn.in_proj_weight": "attention.qkv.weight",
        "self_attn.in_proj_bias": "attention.qkv.bias",
        "self_attn.out_proj.weight": "attention.projection.weight",
        "self_attn.out_proj.bias": "attention.projection.bias",
        "linear1.weight": "feedforward.0.weight",
        "linear1.bias": "feedforward.0.bias",
        "linear2.weight": "feedforward.3.weight",
        "linear2.bias": "feedforward.3.bias",
    }
    state = unit.state_dict()
    layer.load_state_dict({name: state[names.get(name, name)] for name in layer.state_dict()})
    tokens = torch.randn(2, 5, 12, dtype=torch.float64)
    assert (unit(tokens) - layer(tokens)).abs().max() <= 1e-9


def test_dropout_sits_where_pytorch_s_encoder_layer_has_it():
    unit = TransformerUnit(8, 2, 4, dropout=0.25)
    assert [module.p for module in unit.modules() if isinstance(module, nn.Dropout)] == [0.25, 0.25]
    assert unit.attention.dropout == 0.25


def test_stripes_are_row_means_and_patches_maxima():
    features = torch.rand(2, 3, 8, 4, dtype=torch.float64)
    stripes, patches = stripe_tokens(features), patch_tokens(features)
    assert stripes.shape == (2, 8, 3)
    assert patches.shape == (2, 4, 3)
    for b in range(2):
        for c in range(3):
            for y in range(8):
                assert abs(stripes[b, y, c] - sum(features[b, c, y]) / 4) <= 1e-9
            for p, (y, x) in enumerate([(0, 0), (0, 2), (4, 0), (4, 2)]):
                assert patches[b, p, c] == features[b, c, y : y + 4, x : x + 2].max()


@pytest.mark.parametrize(("grid", "count"), [((24, 8), 24), ((16, 8), 16), ((3, 1), 1), ((7, 5), 2)])
def test_every_grid_gives_patches(grid, count):
    features = torch.rand(1, 2, *grid)
    patches = patch_tokens(features)
    assert patches.shape == (1, count, 2)
    assert torch.equal(patches.amax(dim=1), features.amax(dim=(2, 3)))
