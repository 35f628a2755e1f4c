"""The model of the paper, a file a component; `build_pirt` assembles them."""

from pirt.models.pirt import Pirt, build_pirt
from pirt.models.pretrained import load_published

__all__ = ["Pirt", "build_pirt", "load_published"]
