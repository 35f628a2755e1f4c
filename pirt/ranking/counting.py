"""The places of true matches in a ranking, counted by loops that Numba compiles.

NumPy writes a byte for every comparison and reads it again, and between its calls threads wait for Python's lock.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

AT_ONCE = 4  # matches that a row is compared with while it is read once
_Four: TypeAlias = tuple[np.int32, np.int32, np.int32, np.int32]
_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(function: _Function) -> _Function:
    """Compile for the types of the first call, without Python's lock, and keep the result for other processes."""
    kernel = njit(nogil=True)(function)
    with suppress(RuntimeError):  # where neither the package's folder nor the user's can be written
        kernel.enable_caching()
    return cast("_Function", kernel)


@_compiled
def count_places(
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
        thresholds: R×m distances of the matches, ascending. m is at least w and a multiple of AT_ONCE.
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
        for first in range(0, counts[number], AT_ONCE):
            nearer, not_farther = _compare(row, thresholds[number, first : first + AT_ONCE])
            for match in range(first, min(first + AT_ONCE, counts[number])):
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
    """Count the distances that are nearer than each of four thresholds, and those that are not farther."""
    a, b, c, d = thresholds[0], thresholds[1], thresholds[2], thresholds[3]
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
