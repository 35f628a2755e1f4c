"""How heatmap values in [0, 1] become what the store holds, and back.

`tau8` spends its 256 codes where the method looks: 0 means exactly "≤ τ", so the part mask M > τ (eq. 3) is the
float32 one in every cell, and 1 to 255 are logarithmic over (τ, 1]. All codecs are monotone, so max pooling (eq. 1)
may come before or after decoding.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pirt.core.errors import ParamsError

CodecName = Literal["tau8", "float16", "float32"]
Codes = NDArray[Any]
"""uint8, float16 or float32 as the codec says, same shape as the values."""

MAX_RELATIVE_ERROR = 0.015  # what 255 steps hold down to τ = 0.0006
# Of float32's 23 bits of fraction: the 11 that stay tell values 0.05 % apart, and a table over them fits into a cache.
_DROPPED_BITS = 12


def code_dtype(codec: CodecName) -> np.dtype[Any]:
    """Return the type of a codec's codes."""
    return np.dtype(np.uint8 if codec == "tau8" else codec)


def encode(values: NDArray[np.float32], codec: CodecName, tau: float) -> Codes:
    """Encode float32 `values` in [0, 1], of any shape; `tau` only matters to tau8."""
    if codec != "tau8":
        return values.astype(codec)
    tables = _tables(tau)
    # Positive floats order as their bits do, so the leading bits index a table of codes.
    bits = np.maximum(values, tables.tau).view(np.int32)
    codes = tables.codes[(bits >> _DROPPED_BITS) - tables.first]
    # What is not above τ was lifted to it for the table, whose first code is 1.
    return np.multiply(codes, values > tables.tau, dtype=np.uint8)


def decode(codes: Codes, codec: CodecName, tau: float) -> NDArray[np.float32]:
    """Return float32 values of the same shape; tau8's code 0 becomes 0.0 and every other one is above τ."""
    return _tables(tau).values[codes] if codec == "tau8" else codes.astype(np.float32)


def decode_table(tau: float) -> NDArray[np.float32]:
    """Return the values of tau8's 256 codes."""
    return _tables(tau).values


@dataclass(frozen=True)
class _Tables:
    tau: np.float32
    first: int
    codes: NDArray[np.uint8]
    values: NDArray[np.float32]


@lru_cache(maxsize=4)
def _tables(tau: float) -> _Tables:
    """Build the tables: code c stands for τ·r^(c−½) with r chosen so that code 255 is exactly 1."""
    limit = np.float32(tau)
    if not 0 < limit < 1:
        raise ParamsError(f"codec tau8 needs 0 < tau < 1, got {tau}; take codec float16")
    log_ratio = -math.log(limit) / 254.5
    # Counted down from code 255, whose exponent is then 0 and whose value exactly 1.
    values = np.exp(log_ratio * (np.arange(256) - 255.0)).astype(np.float32)
    values[0] = 0
    first, last = (int(edge.view(np.int32)) >> _DROPPED_BITS for edge in (limit, np.float32(1)))
    # One more than there are cells of the table, for the upper edge of the last.
    starts = (np.arange(first, last + 2, dtype=np.int32) << _DROPPED_BITS).view(np.float32)
    steps = np.floor(np.log(starts.astype(np.float64) / limit) / log_ratio) + 1
    codes = np.clip(steps, 1, 255).astype(np.uint8)
    _require_precise(tau, limit, np.maximum(starts, limit), codes[:-1], values)
    # All callers get the one that is cached.
    values.setflags(write=False)
    return _Tables(limit, first, codes, values)


def _require_precise(
    tau: float,
    limit: np.float32,
    edges: NDArray[np.float32],
    codes: NDArray[np.uint8],
    values: NDArray[np.float32],
) -> None:
    # All values of a cell get one code, so the error is largest at one of the cell's edges.
    decoded = values[codes].astype(np.float64)
    error = np.abs(decoded / np.stack([edges[:-1], np.minimum(edges[1:], 1)]) - 1).max()
    # Code 1 must decode to more than τ in float32 as well, or the part mask would lose its cells.
    if error > MAX_RELATIVE_ERROR or values[1] <= limit:
        raise ParamsError(
            f"codec tau8 cannot keep tau {tau} within {MAX_RELATIVE_ERROR:.1%} (it would err by {error:.2%}); "
            f"take a tau between 0.0006 and 0.99 or codec float16"
        )
