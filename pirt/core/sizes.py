"""Networks are measured before memory is asked for: a system that grants it first ends the program later."""

from collections.abc import Callable

import torch
from torch import nn

from pirt.core.errors import ParamsError, PirtError

MOST_WEIGHTS = 2_000_000_000
"""8 GB in float32, seventy times the paper's network."""


def require_buildable(build: Callable[[], nn.Module], what: str) -> None:
    """Raise ParamsError, by the name `what`, when the network that `build` makes has more than `MOST_WEIGHTS`.

    It is made without memory first, where its parts can be made so.
    """
    try:
        with torch.device("meta"):
            weights = sum(value.numel() for value in build().state_dict().values())
    except PirtError:
        raise
    except (RuntimeError, TypeError, OverflowError) as error:
        # PyTorch counts in 64 bits. What else it cannot do without memory shows when it is done with it.
        if "overflow" not in str(error).lower():
            return
        raise ParamsError(f"{what} has more weights than can be counted; take smaller sizes") from error
    if weights > MOST_WEIGHTS:
        raise ParamsError(f"{what} has {weights:,} weights, over the limit of {MOST_WEIGHTS:,}; take smaller sizes")
