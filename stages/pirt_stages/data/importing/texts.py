"""Lists and tables as people's programs save them: UTF-8, or what a mark of its own says is UTF-16."""

import codecs
from pathlib import Path

from pirt.core.errors import DataError


def encoding_of(path: Path) -> str:
    """Return UTF-16 where a spreadsheet or editor has written its mark ("Unicode text"), else UTF-8."""
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def text_in(path: Path, what: str, fix: str) -> str:
    """Return the text of a file with each end of a line as \\n; messages call it `what` and say how to mend it."""
    try:
        return path.read_text(encoding=encoding_of(path))
    except FileNotFoundError:
        raise DataError(f"{what} {path} does not exist") from None
    except (OSError, UnicodeError) as error:
        raise DataError(f"{what} {path} cannot be read as UTF-8 text: {error}; {fix}") from error
