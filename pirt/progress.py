"""Progress bars: on a terminal only, so that logs stay readable."""

from collections.abc import Iterator, Sequence
from typing import Never, TypeVar

from tqdm import tqdm

_Item = TypeVar("_Item")


def progress(total: int, what: str, unit: str, *, initial: int = 0) -> "tqdm[Never]":
    """Return a bar over `total` things called `unit`, of which `initial` are done."""
    return tqdm(total=total, initial=initial, desc=what, unit=unit, disable=None, mininterval=0.5)


def progress_over(items: Sequence[_Item], what: str, unit: str) -> Iterator[_Item]:
    """Yield the items below a bar over them."""
    with progress(len(items), what, unit) as bar:
        for item in items:
            yield item
            bar.update()
