"""What all figures share: colours that colour-blind readers tell apart, and files with the same bytes each time."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from pirt.backbone_table import BACKBONES
from pirt.core.files import written_whole

DPI = 150
_KINDS = ("curves", "heatmaps", "activations", "ranks")
FIGURE_FILES = frozenset(f"{kind}{mark}.png" for kind in _KINDS for mark in ("", *(f"-{name}" for name in BACKBONES)))
"""What a report's figures are called; several backbones have curves, activations and rank lists each."""
# Okabe and Ito's palette.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#000000",
)  # fmt: skip
_OF_PARTS = (ORANGE, BLUE, GREEN, PURPLE, RED, SKY)
COLOURS = (BLACK, SKY, ORANGE, RED, GREEN, PURPLE, BLUE)


def part_colours(count: int) -> list[str]:
    """Return a colour for each of `count` part groups; of more than six, similar ones are told apart by their names."""
    if count <= len(_OF_PARTS):
        return list(_OF_PARTS[:count])
    return [to_hex(colour) for colour in mpl.colormaps["turbo"](np.linspace(0.05, 0.95, count))]


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches, laid out so that nothing overlaps."""
    # The user's own settings would change the bytes.
    mpl.rcParams.update(mpl.rcParamsDefault)
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    # Names of benchmarks and variants may have dollar signs, between which matplotlib would read formulas.
    mpl.rcParams["text.parse_math"] = False
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def save(picture: Figure | Image.Image, path: Path) -> None:
    """Write a PNG that names no software version and no time."""
    with written_whole(path, picture=True) as beside:
        if isinstance(picture, Figure):
            picture.savefig(beside, format="png", metadata={"Software": None})
        else:
            picture.save(beside, format="PNG")
