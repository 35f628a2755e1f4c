"""The places of true matches in a ranking, counted by loops that Numba compiles.

NumPy writes a byte for every comparison and reads it again, and between its calls threads wait for Python's lock.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

_Four: TypeAlias = tuple[np.int32, np.int32, np.int32, np.int32]
_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(function: _Function) -> _Function:
    return cast("_Function", njit(nogil=True)(function))


@cache
def places_kernel(dtype: np.dtype[Any]) -> Callable[..., int]:
    """Return `_count_places`, which see, compiled for rows of a floating-point type; it runs without Python's lock.

    What an earlier process compiled is taken, and kept for later ones where there is a place and room.
    """
    none, one = np.empty((0, 1), np.int64), np.empty(0, np.int64)
    example = np.empty((0, 1), dtype), none, one, one, np.empty((0, 1), dtype), none, none
    try:
        kept = njit(nogil=True)(_count_places)
        kept.enable_caching()
        kept(*example)
    except Exception:  # a damaged file may raise anything; what does not come from it comes again in the next lines
        kept = njit(nogil=True)(_count_places)
        kept(*example)
    return cast("Callable[..., int]", kept)


def _count_places(
    rows: NDArray[Any],
    left_out: NDArray[np.int64],
    junk: NDArray[np.int64],
    counts: NDArray[np.int64],
    thresholds: NDArray[Any],
    columns: NDArray[np.int64],
    places: NDArray[np.int64],
) -> int:
    """Write the place, from 0, of each of R queries' matches: how many gallery images rank before it.

    Args:
        rows: R×n distances of floating point, which are overwritten.
        left_out: R×w columns that are left out of a query's ranking. Its matches are among them: they stand in order.
        junk: columns that are left out of all rankings.
        counts: R, how many matches each query has.
        thresholds: R×w distances of the matches, ascending; what is behind them is not looked at.
        columns: R×w, where the matches stand, ascending where distances are equal.
        places: R×w; what is behind a query's matches is not written.

    Returns:
        The first row with a NaN, at which it stops; −1 where there is none.
    """
    for number in range(len(rows)):
        row = rows[number]
        if _holds_nan(row):
            return number
        # NaN is not nearer than anything.
        for column in left_out[number]:
            row[column] = np.nan
        for column in junk:
            row[column] = np.nan
        # Four at once, to read the row once for them.
        for first in range(0, counts[number], 4):
            nearer, not_farther = _compare(row, thresholds[number, first : counts[number]])
            for match in range(first, min(first + 4, counts[number])):
                place = match + nearer[match - first]
                if not_farther[match - first] > nearer[match - first]:
                    place += _count_equal(row[: columns[number, match]], thresholds[number, match])
                places[number, match] = place
    return -1


@_compiled
def _holds_nan(row: NDArray[Any]) -> bool:
    # To the end, for a loop that may stop anywhere is not vectorised; nor is one over anything but a range.
    found = False
    for column in range(len(row)):
        found |= row[column] != row[column]
    return found


@_compiled
def _compare(row: NDArray[Any], thresholds: NDArray[Any]) -> tuple[_Four, _Four]:
    """Count the distances that are nearer than each of the first four thresholds, and those that are not farther.

    Of fewer thresholds, the last one is counted again.
    """
    last = len(thresholds) - 1
    a, b, c, d = thresholds[0], thresholds[min(1, last)], thresholds[min(2, last)], thresholds[min(3, last)]
    # Names, not arrays, and 32 bits, as wide as a distance: the counts then stay in the processor's registers.
    nearer_a = nearer_b = nearer_c = nearer_d = np.int32(0)
    to_a = to_b = to_c = to_d = np.int32(0)
    for column in range(len(row)):
        distance = row[column]
        nearer_a = np.int32(nearer_a + np.int32(distance < a))
        nearer_b = np.int32(nearer_b + np.int32(distance < b))
        nearer_c = np.int32(nearer_c + np.int32(distance < c))
        nearer_d = np.int32(nearer_d + np.int32(distance < d))
        to_a = np.int32(to_a + np.int32(distance <= a))
        to_b = np.int32(to_b + np.int32(distance <= b))
        to_c = np.int32(to_c + np.int32(distance <= c))
        to_d = np.int32(to_d + np.int32(distance <= d))
    return (nearer_a, nearer_b, nearer_c, nearer_d), (to_a, to_b, to_c, to_d)


@_compiled
def _count_equal(row: NDArray[Any], threshold: float) -> np.int32:
    found = np.int32(0)
    for column in range(len(row)):
        found = np.int32(found + np.int32(row[column] == threshold))
    return found
