"""The model of the paper, a file a component; `build_pirt` assembles them."""

from pirt.models.imagenet import load_imagenet
from pirt.models.pirt import Pirt, build_pirt

__all__ = ["Pirt", "build_pirt", "load_imagenet"]
