"""Text that stays text: names from data and parameters are no formulas, links or markup of a table."""

import re

_MARKUP = {"|": "&#124;", "<": "&lt;", ">": "&gt;", "&": "&amp;", "[": "&#91;", "]": "&#93;", "`": "&#96;"}
_LINE_ENDS = {"\r": " ", "\n": " "}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def plain_markdown(text: str) -> str:
    """Return text that Markdown shows as it is, in one line and one cell."""
    return "".join((_MARKUP | _LINE_ENDS).get(character, character) for character in text)


def plain_code(text: str) -> str:
    """Return text that may stand between Markdown's backticks."""
    return "".join(({"`": "'"} | _LINE_ENDS).get(character, character) for character in text)


def plain_cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: what it would is put behind an apostrophe."""
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text
