"""Max pooling to any grid against torch's own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from pirt.models.pooling import max_pool_to

_SIDE = st.integers(1, 13)


@settings(deadline=None)
@given(_SIDE, _SIDE, _SIDE, _SIDE, st.integers(0, 2**31))
def test_values_and_gradients_are_those_of_adaptive_pooling(height, width, rows, columns, seed):
    chance = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 3, height, width, generator=chance, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, rows, columns, generator=chance, dtype=torch.float64)
    found = max_pool_to(features, (rows, columns))
    expected = functional.adaptive_max_pool2d(features, (rows, columns))
    assert torch.equal(found, expected)
    (gradient,) = torch.autograd.grad((found * weights).sum(), features)
    (expected_gradient,) = torch.autograd.grad((expected * weights).sum(), features)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("grid", [(6, 4), (5, 3)])
def test_a_constant_map_stays_one(grid):
    assert torch.equal(max_pool_to(torch.full((1, 2, 12, 8), -3.0), grid), torch.full((1, 2, *grid), -3.0))
