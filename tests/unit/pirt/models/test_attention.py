import pytest
import torch
from model_oracles import attention, randomise

from pirt.models.attention import SelfAttention


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("projection", [True, False])
def test_equals_the_equations(bias, projection):
    module = randomise(SelfAttention(12, 3, bias=bias, projection=projection, dropout=0.5)).eval()
    tokens = torch.randn(4, 5, 12, dtype=torch.float64)
    expected = torch.stack([attention(sequence, module) for sequence in tokens])
    assert (module(tokens) - expected).abs().max() <= 1e-9


def test_padding_changes_nothing_whatever_it_holds():
    module = randomise(SelfAttention(8, 2, bias=True, projection=True, dropout=0.0)).eval()
    tokens = torch.randn(3, 6, 8, dtype=torch.float64)
    valid = torch.arange(6) < torch.tensor([6, 4, 1])[:, None]
    tokens[~valid] = 1e3
    found = module(tokens, valid)
    for n, length in enumerate((6, 4, 1)):
        assert (found[n, :length] - attention(tokens[n, :length], module)).abs().max() <= 1e-9


def test_dropout_acts_in_training_only():
    module = randomise(SelfAttention(8, 2, bias=True, projection=True, dropout=0.5))
    tokens = torch.randn(2, 4, 8, dtype=torch.float64)
    assert not torch.equal(module(tokens), module(tokens))
    module.eval()
    assert torch.equal(module(tokens), module(tokens))
