"""Lists and tables as people's programs save them: UTF-8, or what a mark of its own says is UTF-16."""

from pathlib import Path

from pirt.core.errors import DataError
from pirt.core.texts import encoding_of


def text_in(path: Path, what: str, fix: str) -> str:
    """Return the text of a file with each end of a line as \\n; messages call it `what` and say how to fix it."""
    try:
        return path.read_text(encoding=encoding_of(path))
    except FileNotFoundError:
        raise DataError(f"{what} {path} does not exist") from None
    except (OSError, UnicodeError) as error:
        raise DataError(f"{what} {path} cannot be read as UTF-8 text: {error}; {fix}") from error
