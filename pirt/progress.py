"""Progress bars and the lines above them: bars on a terminal only, so that logs stay readable."""

import sys
from collections.abc import Iterator, Sequence
from typing import Never, TypeAlias, TypeVar

from tqdm import tqdm

_Item = TypeVar("_Item")
Bar: TypeAlias = "tqdm[Never]"


def progress(total: int | None, what: str, unit: str, *, initial: int = 0) -> Bar:
    """Return a bar over `total` things called `unit`, of which `initial` are done; None if their number is unknown.

    Bytes, the unit "B", are shown in kB, MB and so on.
    """
    return tqdm(
        total=total,
        initial=initial,
        desc=what,
        unit=unit,
        unit_scale=unit == "B",
        disable=None,  # only a terminal shows it
        mininterval=0.5,
        dynamic_ncols=True,
    )


def progress_over(items: Sequence[_Item], what: str, unit: str) -> Iterator[_Item]:
    """Yield the items below a bar over them."""
    with progress(len(items), what, unit) as bar:
        for item in items:
            yield item
            bar.update()


def say(line: str) -> None:
    """Print a line to stdout, above the bars that are on the terminal."""
    tqdm.write(line)


def note(line: str) -> None:
    """Print a line that the user should know to stderr, above the bars."""
    tqdm.write(f"note: {line}", file=sys.stderr)
