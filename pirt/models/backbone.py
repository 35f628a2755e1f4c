"""What the model knows of a backbone, and how one is built by its name."""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from typing import Any, Literal, get_args, get_origin, get_type_hints

from torch import Tensor, nn

from pirt.backbone_table import BACKBONES
from pirt.core.errors import ParamsError

Grid = tuple[int, int]
"""Rows and columns, of cells or of pixels."""


@dataclass
class Adapted:
    """What a file of published weights is to a backbone: its own names and shapes, if the file is whole."""

    weights: dict[str, Tensor]
    left_out: list[str]
    """Names of heads and the like, which no backbone has."""
    notes: list[str] = field(default_factory=list)
    """What was resampled, a line each."""


_LARGEST_OPTION = 256
"""Of a backbone's numbers: depths, windows, strides, shares."""


class Backbone(nn.Module):
    """Images B×3×Hi×Wi to features F: B×C×H×W, with C = `feature_channels`; all that the model knows of it."""

    feature_channels: int
    stride: Grid
    """Pixels from one cell to the next."""
    last_layer: int
    """The highest number of `layer_of`."""

    def grid(self, image_size: Grid) -> Grid:
        """Return H and W of the features of an image Hi×Wi; ParamsError where they cannot share a grid."""
        raise NotImplementedError

    def layer_of(self, name: str) -> int:
        """Return how deep the parameter `name` lies, from 0: layer-wise decay of the learning rate goes by it."""
        raise NotImplementedError

    def adapt(self, weights: Mapping[str, Tensor]) -> Adapted:
        """Translate published weights into this network's names and shapes, by looking at their names."""
        raise NotImplementedError


def known_backbone(name: str) -> str:
    """Return `name` if it stands in the table."""
    if name not in BACKBONES:
        raise ParamsError(f"unknown backbone {name!r}; expected one of {', '.join(BACKBONES)}")
    return name


def build_backbone(name: str, image_size: Grid, options: Mapping[str, object]) -> Backbone:
    """Build the backbone `name` with random weights; only its module is imported.

    Args:
        name: of `BACKBONES`.
        image_size: Hi and Wi, for a function that asks for it.
        options: by name; those that the function takes, of the types that it says. Lists, as in files, are tuples.
    """
    build = getattr(import_module(BACKBONES[known_backbone(name)]), name)
    takes, kinds = list(signature(build).parameters), get_type_hints(build)
    given = {option: tuple(value) if isinstance(value, list) else value for option, value in options.items()}
    for option, value in given.items():
        if option not in takes or option == "image_size":
            known = ", ".join(one for one in takes if one != "image_size") or "none"
            raise ParamsError(f"backbone {name} takes no option {option!r}; it takes {known}")
        if not _fits(value, kind := kinds.get(option, object)):
            raise ParamsError(
                f"backbone {name}: {option} = {reprlib.repr(value)}, expected {getattr(kind, '__name__', kind)}"
                f" up to {_LARGEST_OPTION}"
            )
    if "image_size" in takes:
        given["image_size"] = image_size
    network: Backbone = build(**given)
    return network


def _fits(value: object, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_fits, value, kinds))
    if get_args(kind):
        return any(_fits(value, one) for one in get_args(kind))
    if isinstance(value, bool) and kind in (int, float):  # True is an int
        return False
    if kind in (int, float) and isinstance(value, int | float) and not abs(value) <= _LARGEST_OPTION:
        return False
    return isinstance(value, (int, float) if kind is float else kind)
