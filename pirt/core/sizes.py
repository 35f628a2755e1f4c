"""Networks are measured before memory is asked for: a system may grant any amount and kill the program that uses it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from pirt.core.errors import ParamsError, PirtError

MOST_WEIGHTS = 2_000_000_000
"""8 GB in float32, seventy times the paper's network."""

_MOST_CALLS = 50_000
"""Five times what the largest known here, HRNet-W48, takes."""


class _EndlessError(Exception):
    """Building has not come to an end."""


@contextmanager
def without_memory() -> Iterator[None]:
    """Make networks that have shapes alone: nothing is drawn, nothing can be computed."""
    with torch.device("meta"), _Undrawn():
        yield


class _Undrawn(TorchFunctionMode):
    """Leaves tensors as they are where they would be filled in place, for which PyTorch imports its compiler.

    It also counts: a description of a billion layers would be followed for hours, memory or none.
    """

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self._calls += 1
        if self._calls > _MOST_CALLS:
            raise _EndlessError
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        # What works in place ends with an underscore; `requires_grad_` does too, but fills nothing.
        if name.endswith("_") and not name.startswith("_") and not name.endswith("requires_grad_"):
            return args[0] if args else kwargs["tensor"]  # as `nn.init` calls it
        return func(*args, **kwargs)


def require_buildable(build: Callable[[], nn.Module], what: str) -> None:
    """Raise ParamsError, by the name `what`, when the network that `build` makes has more than `MOST_WEIGHTS`.

    It is made without memory first, where its parts can be made so.
    """
    try:
        with without_memory():
            weights = sum(value.numel() for value in build().state_dict().values())
    except PirtError:
        raise
    except _EndlessError as error:
        raise ParamsError(f"{what} has more layers than can be counted; take fewer") from error
    except (RuntimeError, TypeError, OverflowError) as error:
        # PyTorch counts in 64 bits. What else it cannot do without memory shows when it is done with it.
        if "overflow" not in str(error).lower():
            return
        raise ParamsError(f"{what} has more weights than can be counted; take smaller sizes") from error
    if weights > MOST_WEIGHTS:
        raise ParamsError(f"{what} has {weights:,} weights, over the limit of {MOST_WEIGHTS:,}; take smaller sizes")
