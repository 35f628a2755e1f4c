"""Text that stays text where a spreadsheet opens the table: names from data and parameters are no formulas."""

import re

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""How a formula begins; spreadsheets of East Asia take the wide signs too."""
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def plain_cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: what it would is put behind an apostrophe."""
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text
