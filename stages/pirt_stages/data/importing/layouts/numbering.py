"""Numbers for persons and cameras that have names."""

import re
import reprlib
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise

from pirt.core.errors import DataError

# At most 100 digits: Python's int() refuses more than 4,300, with an error of its own.
_WHOLE = re.compile(r"([+-]?\d{1,100})(?:[.,](?!000$)0+)?")
"""A whole number, also as spreadsheets write it, with either decimal point."""
_ONE_OR_A_THOUSAND = re.compile(r"[+-]?\d{1,100}[.,]000")


def numbers_of(words: Sequence[str], what: str, wheres: Sequence[str]) -> tuple[list[int], dict[int, str]]:
    """Return a number for each word, and the names behind the numbers where words are names.

    Whole numbers stand for themselves. Names are numbered from 1 in the order of the alphabet. Numbers and names mixed
    are a DataError that shows the rarer one, at its place in `wheres`; so is 1,000, which may be one or a thousand.
    """
    words = [composed(word.strip()) for word in words]
    found = [_WHOLE.fullmatch(word) for word in words]
    named = [at for at, match in enumerate(found) if match is None]
    if unclear := [at for at in named if _ONE_OR_A_THOUSAND.fullmatch(words[at])]:
        at = unclear[0]
        raise DataError(
            f"{wheres[at]}: {what} {words[at]!r:.120} may be one or a thousand; write it without point and comma"
        )
    if not named:
        return [int(match[1]) for match in found if match], {}
    if len(named) < len(words) or not all(words):
        empty = [at for at in named if not words[at]]
        at = (empty or min(named, [at for at, match in enumerate(found) if match], key=len))[0]
        raise DataError(
            f"{wheres[at]}: {what} {reprlib.repr(words[at])}; expected whole numbers in all rows, or names in all rows"
        )
    numbers = numbered(words)
    return [numbers[word] for word in words], {number: word for word, number in numbers.items()}


def composed(name: str) -> str:
    """Return a name as most systems write it: macOS writes é as two characters, but the person is the same."""
    return unicodedata.normalize("NFC", name)


def numbered(names: Iterable[str]) -> dict[str, int]:
    """Number names from 1 in the order of the alphabet."""
    return {name: number for number, name in enumerate(sorted(set(names)), 1)}


def alike(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return each name with the next one that differs from it in capitals only."""
    of_letters: dict[str, list[str]] = {}
    for name in sorted(names):
        of_letters.setdefault(name.casefold(), []).append(name)
    return [pair for same in of_letters.values() for pair in pairwise(same)]
