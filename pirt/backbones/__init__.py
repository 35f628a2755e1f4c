"""Which backbones there are, a line each. DVC does not watch this table, so that a new line retrains nothing.

A pipeline whose models use a backbone of this folder names its file among the dependencies of the stages that build
them; the ResNets of the paper lie in `pirt.models`, which these stages watch anyway.
"""

from importlib import import_module
from typing import Protocol

from torch import nn

from pirt.core.errors import ParamsError

Strides = tuple[int, int, int, int]


class Backbone(nn.Module):
    """Images B×3×Hi×Wi to features F: B×C×H×W, with C = `feature_channels`."""

    feature_channels: int


class BuildBackbone(Protocol):
    """Builds a backbone with random weights; see `pirt.models.build_pirt` for the arguments."""

    def __call__(self, width: int, strides: Strides) -> Backbone:
        """Return the network."""


BACKBONES = {
    "resnet18_ibn_a": "pirt.models.resnet_ibn",
    "resnet34_ibn_a": "pirt.models.resnet_ibn",
    "resnet50_ibn_a": "pirt.models.resnet_ibn",
    "resnet101_ibn_a": "pirt.models.resnet_ibn",
}
"""Name of the backbone, and the module whose function of that name builds it."""


def known_backbone(name: str) -> str:
    """Return `name` if it stands in the table."""
    if name not in BACKBONES:
        raise ParamsError(f"unknown backbone {name!r}; expected one of {', '.join(BACKBONES)}")
    return name


def backbone_named(name: str) -> BuildBackbone:
    """Return what builds the backbone `name`; only its module is imported."""
    build: BuildBackbone = getattr(import_module(BACKBONES[known_backbone(name)]), name)
    return build
