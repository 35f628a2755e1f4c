"""Text that stays text: names from data and parameters never become links or markup of a table."""

import re

_MARKUP = {
    "|": "&#124;", "<": "&lt;", ">": "&gt;", "&": "&amp;", "[": "&#91;", "]": "&#93;", "`": "&#96;", "*": "&#42;",
    "~": "&#126;", "\\": "&#92;", "@": "&#64;", "$": "&#36;",
}  # fmt: skip
_LINKED = re.compile(r"(?<=\w):(?=//)|(?<=www)\.|(?<!\w)_|_(?!\w)", re.IGNORECASE)
"""What turns an address into a link, and an underscore at the edge of a word, which is emphasis."""
LINE_ENDS = {"\r": " ", "\n": " "}


def plain_markdown(text: str) -> str:
    """Return text that Markdown shows as it is, on one line and in one cell."""
    plain = "".join((_MARKUP | LINE_ENDS).get(character, character) for character in text)
    return _LINKED.sub(lambda mark: f"&#{ord(mark[0])};", plain)


def plain_code(text: str) -> str:
    """Return text that may stand between Markdown's backticks."""
    return "".join(({"`": "'"} | LINE_ENDS).get(character, character) for character in text)
