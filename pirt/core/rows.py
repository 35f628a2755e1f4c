"""The rows of a manifest, held as columns: a million images take some 200 MB, and forked processes share them.

Python objects, one a value, would take five times as much, and counting references to them would copy their memory
into every process that looks at them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeAlias, get_args, overload

import numpy as np
from numpy.typing import NDArray

Split = Literal["train", "query", "gallery"]
SPLITS: tuple[Split, ...] = get_args(Split)
CODES: dict[str, int] = {split: code for code, split in enumerate(SPLITS)}
"""The place of a split in `SPLITS`, which stands for it in `Rows.splits`."""
TOGETHER = 4096
"""Rows that are worked on at a time: many enough for speed, few enough that their objects take no memory."""
_DECODED_AT_ONCE = 1 << 22
"""Bytes; of `TOGETHER` rows as a manifest holds them, or every tenth."""

Places: TypeAlias = slice | Sequence[int] | NDArray[np.int64] | NDArray[np.bool_]
"""Some of N rows: a slice, indices, or a boolean each."""
Integers: TypeAlias = NDArray[Any]
"""int64, or Python's integers where one needs more bits: until they are checked, numbers may be any."""


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image. `path` is posix and relative to the data root; pid −1 is junk, pid 0 a distractor."""

    key: str
    path: str
    split: Split
    pid: int
    camid: int
    sha256: str


class Texts(Sequence[str]):
    """Many strings in one piece of memory, which all selections of them share."""

    def __init__(self, utf8: bytearray, starts: NDArray[np.int64], lengths: NDArray[np.int32]) -> None:
        self._utf8, self._starts, self._lengths = utf8, starts, lengths

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Texts":
        """Hold `texts`."""
        column, texts = _TextColumn(bytearray()), iter(texts)
        while some := list(islice(texts, TOGETHER)):
            column.extend(some)
        return column.texts()

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> "Texts": ...
    def __getitem__(self, place: int | slice) -> "str | Texts":
        if isinstance(place, slice):
            return self.take(place)
        start = int(self._starts[place])
        return _decoded(self._utf8[start : start + int(self._lengths[place])])

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), TOGETHER):
            yield from self._some(slice(first, first + TOGETHER))

    def __eq__(self, other: object) -> bool:
        return _same(self, other) if isinstance(other, Texts | tuple) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal to tuples, whose hash takes all objects

    def take(self, places: Places) -> "Texts":
        """Return those at `places`."""
        places = _index(places)
        return Texts(self._utf8, self._starts[places], self._lengths[places])

    def hashes(self) -> NDArray[np.int64]:
        """Return the hash of each; see `hashes_of`."""
        return hashes_of(self)

    def _some(self, places: slice) -> list[str]:
        starts, stops = self._starts[places], self._starts[places] + self._lengths[places]
        # One somewhere after the other, as in a manifest that was read, they are decoded at once and cut.
        if len(starts) and (starts[1:] >= stops[:-1]).all() and stops[-1] - starts[0] <= _DECODED_AT_ONCE:
            whole = _decoded(self._utf8[starts[0] : stops[-1]])
            if len(whole) == stops[-1] - starts[0]:  # then characters are bytes
                cuts = zip((starts - starts[0]).tolist(), (stops - starts[0]).tolist(), strict=True)
                return [whole[start:stop] for start, stop in cuts]
        cuts = zip(starts.tolist(), stops.tolist(), strict=True)
        return [_decoded(self._utf8[start:stop]) for start, stop in cuts]


def hashes_of(texts: Sequence[str]) -> NDArray[np.int64]:
    """Return Python's 64-bit hash of each: equal for equal texts, different for nearly all others."""
    return np.fromiter(map(hash, texts), np.int64, len(texts))


class Rows(Sequence[ImageRow]):
    """The rows of a manifest or some of them; an `ImageRow` is made when asked for, a slice is again `Rows`.

    `keys`, `paths` and `sha256s` are `Texts`; `splits` N uint8, places in `SPLITS`; `pids` and `camids` N int64.
    """

    def __init__(
        self, keys: Texts, paths: Texts, splits: NDArray[np.uint8], pids: Integers, camids: Integers, sha256s: Texts
    ) -> None:
        self.keys, self.paths, self.sha256s = keys, paths, sha256s
        self.splits, self.pids, self.camids = splits, pids, camids

    @classmethod
    def of(cls, rows: Iterable[ImageRow]) -> "Rows":
        """Hold `rows`; those that are held so already are returned as they are."""
        if isinstance(rows, Rows):
            return rows
        columns, rows = Columns(), iter(rows)
        while some := list(islice(rows, TOGETHER)):
            columns.extend(
                [row.key for row in some],
                [row.path for row in some],
                [CODES[row.split] for row in some],
                [row.pid for row in some],
                [row.camid for row in some],
                [row.sha256 for row in some],
            )
        return columns.rows()

    def __len__(self) -> int:
        return len(self.pids)

    @overload
    def __getitem__(self, place: int) -> ImageRow: ...
    @overload
    def __getitem__(self, place: slice) -> "Rows": ...
    def __getitem__(self, place: int | slice) -> "ImageRow | Rows":
        if isinstance(place, slice):
            return self.take(place)
        split, pid, camid = SPLITS[self.splits[place]], int(self.pids[place]), int(self.camids[place])
        return ImageRow(self.keys[place], self.paths[place], split, pid, camid, self.sha256s[place])

    def __iter__(self) -> Iterator[ImageRow]:
        for first in range(0, len(self), TOGETHER):
            yield from map(ImageRow, *self[first : first + TOGETHER].columns())

    def __eq__(self, other: object) -> bool:
        return _same(self, other) if isinstance(other, Rows | tuple) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal to tuples, whose hash takes all objects

    def columns(self) -> tuple[Texts, Texts, list[Split], list[int], list[int], Texts]:
        """Return the columns in the manifest's order, with names of splits and Python's numbers; for a few rows."""
        splits = [SPLITS[code] for code in self.splits.tolist()]
        return self.keys, self.paths, splits, self.pids.tolist(), self.camids.tolist(), self.sha256s

    def take(self, places: Places) -> "Rows":
        """Return those at `places`."""
        places = _index(places)
        texts = (column.take(places) for column in (self.keys, self.paths, self.sha256s))
        keys, paths, sha256s = texts
        return Rows(keys, paths, self.splits[places], self.pids[places], self.camids[places], sha256s)

    def of_split(self, split: Split) -> NDArray[np.bool_]:
        """Tell of each row whether it is of `split`."""
        of_split: NDArray[np.bool_] = self.splits == CODES[split]
        return of_split


class Columns:
    """Rows that come a few at a time."""

    def __init__(self) -> None:
        self._utf8 = bytearray()
        self._keys, self._paths, self._sha256s = (_TextColumn(self._utf8) for _ in range(3))
        self._splits: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)]
        self._pids: list[Integers] = [np.empty(0, np.int64)]
        self._camids: list[Integers] = [np.empty(0, np.int64)]

    def extend(
        self,
        keys: Sequence[str],
        paths: Sequence[str],
        splits: Sequence[int],
        pids: Sequence[int],
        camids: Sequence[int],
        sha256s: Sequence[str],
    ) -> None:
        """Add n rows: n values a column, splits as places in `SPLITS`."""
        self._keys.extend(keys)
        self._paths.extend(paths)
        self._splits.append(np.array(splits, np.uint8))
        self._pids.append(_integers(pids))
        self._camids.append(_integers(camids))
        self._sha256s.extend(sha256s)

    def extend_cut(
        self,
        utf8: bytes,
        texts: Sequence[tuple[NDArray[np.int64], NDArray[np.int32]]],
        splits: NDArray[np.uint8],
        pids: NDArray[np.int64],
        camids: NDArray[np.int64],
    ) -> None:
        """Add n rows whose texts lie in `utf8`: where each begins and how long it is, of keys, paths and SHA-256s."""
        at = len(self._utf8)
        self._utf8 += utf8
        for column, (starts, lengths) in zip((self._keys, self._paths, self._sha256s), texts, strict=True):
            column.add(starts + at, lengths)
        self._splits.append(splits)
        self._pids.append(pids)
        self._camids.append(camids)

    def rows(self) -> Rows:
        """Return all rows so far."""
        splits, pids, camids = (np.concatenate(parts) for parts in (self._splits, self._pids, self._camids))
        return Rows(self._keys.texts(), self._paths.texts(), splits, pids, camids, self._sha256s.texts())


class _TextColumn:
    def __init__(self, utf8: bytearray) -> None:
        self._utf8 = utf8  # which other columns may share
        # Numbers too, since joining arrays would take their memory twice.
        self._starts, self._lengths = bytearray(), bytearray()

    def add(self, starts: NDArray[np.int64], lengths: NDArray[np.int32]) -> None:
        self._starts += starts.tobytes()
        self._lengths += lengths.tobytes()

    def extend(self, texts: Sequence[str]) -> None:
        at, whole = len(self._utf8), "".join(texts)
        if whole.isascii():  # then characters are bytes
            self._utf8 += whole.encode()
            lengths = np.fromiter(map(len, texts), np.int32, len(texts))
        else:
            encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
            self._utf8 += b"".join(encoded)
            lengths = np.fromiter(map(len, encoded), np.int32, len(texts))
        self.add(at + np.cumsum(lengths, dtype=np.int64) - lengths, lengths)

    def texts(self) -> Texts:
        return Texts(self._utf8, np.frombuffer(self._starts, np.int64), np.frombuffer(self._lengths, np.int32))


def _index(places: Places) -> slice | NDArray[Any]:
    if isinstance(places, slice):
        return places
    # NumPy takes an empty list for numbers with fractions, which index nothing.
    return np.asarray(places, None if len(places) else np.int64)


def _integers(values: Sequence[int]) -> Integers:
    try:
        return np.array(values, np.int64)
    except OverflowError:
        return np.array(values, object)


def _decoded(utf8: bytearray) -> str:
    return utf8.decode("utf-8", "surrogatepass")


def _same(these: Sequence[object], others: Sequence[object]) -> bool:
    return len(these) == len(others) and all(this == other for this, other in zip(these, others, strict=True))
