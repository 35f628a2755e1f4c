"""Lists and tables as people's programs save them: UTF-8, or UTF-16 with its byte-order mark."""

from pathlib import Path

from pirt.core.errors import DataError
from pirt.core.texts import encoding_of


def text_in(path: Path, what: str, fix: str) -> str:
    """Return the text of a file with all line ends as \\n; messages call it `what` and give `fix`."""
    try:
        return path.read_text(encoding=encoding_of(path))
    except FileNotFoundError:
        raise DataError(f"{what} {path} does not exist") from None
    except (OSError, UnicodeError) as error:
        raise DataError(f"{what} {path} cannot be read as UTF-8 text: {error}; {fix}") from error
