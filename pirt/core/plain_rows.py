"""Rows of a manifest in which nothing is quoted, cut all at once.

Many times as fast as `csv.reader`, which makes a string of every field.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pirt.core.rows import SPLITS

_FIELDS = 6
_DIGITS = 18
"""Numbers of so many digits are below 2**63."""
_WORD = 8  # as long as no split's name is


@dataclass(frozen=True, slots=True)
class PlainRows:
    """N rows: numbers, and texts in `utf8`, each as where they begin and how long they are, N int64 and N int32."""

    utf8: bytes
    texts: Sequence[tuple[NDArray[np.int64], NDArray[np.int32]]]
    splits: NDArray[np.uint8]
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.splits)


def plain_rows(text: str, delimiter: str) -> PlainRows | None:
    """Cut whole lines of a manifest below its header; None where not all of them are plain, as almost all are."""
    if any(mark in text for mark in '"\r\0'):
        return None
    utf8 = text.encode() + b"\n" * (not text.endswith("\n"))
    octets = np.frombuffer(utf8 + bytes(_WORD + _DIGITS), np.uint8)  # so that none is looked for beyond the end
    ends, marks = np.flatnonzero(octets == ord("\n")), np.flatnonzero(octets == ord(delimiter))
    if len(marks) != (_FIELDS - 1) * len(ends):
        return None
    stops = np.column_stack([marks.reshape(len(ends), -1), ends])
    starts = np.empty_like(stops)
    starts[:, 1:] = stops[:, :-1] + 1
    starts[0, 0], starts[1:, 0] = 0, ends[:-1] + 1
    lengths = stops - starts
    # A field that `csv.reader` refuses is left to it, which then says so.
    if (lengths < 0).any() or lengths.max() > csv.field_size_limit():  # one line has more, another fewer fields
        return None
    keys, paths, splits, pids, camids, sha256s = zip(starts.T, lengths.T, strict=True)
    codes, people, cameras = _codes(octets, *splits), _integers(octets, *pids), _integers(octets, *camids)
    if codes is None or people is None or cameras is None:
        return None
    texts = [(begins.copy(), sizes.astype(np.int32)) for begins, sizes in (keys, paths, sha256s)]
    return PlainRows(utf8, texts, codes, people, cameras)


def _codes(
    octets: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.uint8] | None:
    """Return the place in `SPLITS` of each field's split; None where one names none."""
    words = octets[starts[:, None] + np.arange(_WORD)]
    codes = np.full(len(starts), len(SPLITS), np.uint8)
    for code, split in enumerate(SPLITS):
        name = np.frombuffer(split.encode(), np.uint8)
        codes[(lengths == len(name)) & (words[:, : len(name)] == name).all(axis=1)] = code
    return None if (codes == len(SPLITS)).any() else codes


def _integers(
    octets: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Return each field's value; None where one is not digits, maybe behind a minus."""
    negative = octets[starts] == ord("-")
    starts, lengths = starts + negative, lengths - negative
    if lengths.min() < 1 or lengths.max() > _DIGITS:
        return None
    values = np.zeros(len(starts), np.int64)
    for place in range(int(lengths.max())):
        within = place < lengths
        digits = octets[starts + place] - np.uint8(ord("0"))  # what is below "0" becomes large
        if (digits[within] > 9).any():
            return None
        values = np.where(within, 10 * values + digits, values)
    return np.where(negative, -values, values)
