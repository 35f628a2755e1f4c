"""tau8's two promises: masks as of float32, and at most 1.5 % of error above τ; over all of [0, 1]."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pirt.heatmaps.codec import decode, encode

_ONE = 0x3F800000  # the bits of 1.0: those of [0, 1] are 0 to here, in the values' order
_TAUS = (0.0006, 0.001, 0.01, 0.3, 0.99)


def check_promises(values: NDArray[np.float32], tau: float) -> None:
    """`values` ascend."""
    codes = encode(values, "tau8", tau)
    decoded = decode(codes, "tau8", tau)
    mask = values > np.float32(tau)
    assert np.array_equal(codes > 0, mask)
    assert np.array_equal(decoded > np.float32(tau), mask)
    assert not decoded[~mask].any()
    assert (codes[1:] >= codes[:-1]).all()
    if mask.any():
        above = values[mask].astype(np.float64)
        assert np.abs(decoded[mask] / above - 1).max() <= 0.015


def floats(bits: NDArray[np.int64]) -> NDArray[np.float32]:
    return bits.astype(np.int32).view(np.float32)


@settings(deadline=None)
@given(st.lists(st.integers(0, _ONE), min_size=1), st.sampled_from(_TAUS))
def test_any_values(bits: list[int], tau: float) -> None:
    check_promises(floats(np.sort(np.array(bits))), tau)


@settings(deadline=None)
@given(st.floats(0.0006, 0.99))
def test_any_tau(tau: float) -> None:
    check_promises(floats(np.arange(0, _ONE + 1, 9973)), tau)


@pytest.mark.parametrize("tau", _TAUS)
def test_every_boundary_between_codes(tau: float) -> None:
    coarse = np.arange(0, _ONE + 1, 1 << 12)
    codes = encode(floats(coarse), "tau8", tau)
    changes = coarse[1:][codes[1:] != codes[:-1]]
    limit = int(np.float32(tau).view(np.int32))
    near = (np.append(changes, [limit, _ONE])[:, None] + np.arange(-5000, 5000)).ravel()
    check_promises(floats(np.unique(near.clip(0, _ONE))), tau)


def test_all_denormals_of_a_block_and_zero() -> None:
    check_promises(floats(np.arange(0, 1 << 20)), 0.001)


@pytest.mark.slow
@pytest.mark.parametrize("tau", [0.001, 0.0006, 0.99])
def test_all_1065353217_floats(tau: float) -> None:
    step = 1 << 24
    for start in range(0, _ONE + 1, step):
        # One value of overlap lets the order be seen across blocks.
        check_promises(floats(np.arange(max(start - 1, 0), min(start + step, _ONE + 1))), tau)
