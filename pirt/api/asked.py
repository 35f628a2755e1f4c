"""Checks of the API's arguments: their types are declared, but a notebook checks no types."""

from collections.abc import Sequence
from typing import get_args

from pirt.core.errors import ParamsError
from pirt.ranking.matching import CONFIDENCE_MODES, GroupDistance


def require_one_of(value: object, known: Sequence[str], name: str) -> None:
    """Raise ParamsError unless `value` is one of `known`."""
    if value not in known:
        raise ParamsError(f"{name} = {value!r}, expected one of {', '.join(known)}")


def require_at_least(least: int, value: int | None, name: str) -> None:
    """Raise ParamsError for a `value` below `least`; None, which asks for the default, is fine."""
    if value is not None and value < least:
        raise ParamsError(f"{name} = {value}, expected at least {least}")


def require_matching(confidence: str, group_distance: str = "euclidean") -> None:
    """Raise ParamsError for an unknown way of matching."""
    require_one_of(confidence, CONFIDENCE_MODES, "confidence")
    require_one_of(group_distance, get_args(GroupDistance), "group_distance")
