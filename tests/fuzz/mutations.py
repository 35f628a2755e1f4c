"""Valid files made wrong: bytes turned, cut, doubled, swapped for numbers and marks that parsers stumble over."""

import random
import re

_PIECES = tuple(
    piece.encode()
    for piece in (
        "0", "-1", "1e309", "NaN", "9" * 30, "9" * 5000, str(2**31), str(2**63), str(-(2**63)), "1.5", "null", "true",
        "{}", "[]", '""', "{", "}", "[", "]", '"', "'", ",", ":", "\n", "\r", "\0", "\t", " ", "&a ", "*a", "!!int ",
        "- ", "? ", "<<: ", "#", "%", "2024-13-45", "../", "/", "\\", "=1+1", "é", "\ufeff", "\u2028", "x" * 200_000,
        "[" * 3000, "!!python/object/apply:os._exit [9]",
    )
)  # fmt: skip
_TOKEN = re.compile(rb"-?\d+(?:\.\d+)?|\"[^\"\n]{0,40}\"|\w+")


def mutated(chance: random.Random, whole: bytes) -> bytes:
    """Return `whole` with one to four changes."""
    content = bytearray(whole)
    for _ in range(chance.randint(1, 4)):
        content = chance.choice(_CHANGES)(chance, content)
    return bytes(content)


def _turn(chance: random.Random, content: bytearray) -> bytearray:
    for _ in range(chance.randint(1, 8)):
        if content:
            content[chance.randrange(len(content))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    return content


def _cut(chance: random.Random, content: bytearray) -> bytearray:
    start, length = chance.randrange(len(content) + 1), chance.choice((1, 2, 16, 1 << 20))
    return content[:start] + content[start + length :]


def _doubled(chance: random.Random, content: bytearray) -> bytearray:
    start, length = chance.randrange(len(content) + 1), chance.choice((1, 8, 64, 512))
    return content[: start + length] + content[start : start + length] * chance.choice((1, 2, 30)) + content[start:]


def _put_in(chance: random.Random, content: bytearray) -> bytearray:
    start = chance.randrange(len(content) + 1)
    return content[:start] + chance.choice(_PIECES) + content[start:]


def _swapped(chance: random.Random, content: bytearray) -> bytearray:
    """Put something else in the place of one number, name or text."""
    tokens = [match.span() for match in _TOKEN.finditer(content[: 1 << 16])]
    if not tokens:
        return _turn(chance, content)
    start, end = chance.choice(tokens)
    return content[:start] + chance.choice(_PIECES) + content[end:]


_CHANGES = (_turn, _cut, _doubled, _put_in, _swapped, _swapped, _swapped)
