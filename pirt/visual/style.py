"""What all figures share: colours that colour-blind readers tell apart, and files with the same bytes each time."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from PIL import Image

from pirt.core.files import written_whole

DPI = 150
# Okabe and Ito's palette.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#000000",
)  # fmt: skip
COLOURS = (BLACK, SKY, ORANGE, RED, GREEN, PURPLE, BLUE)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches, laid out so that nothing overlaps."""
    mpl.rcParams.update(mpl.rcParamsDefault)
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def save(picture: Figure | Image.Image, path: Path) -> None:
    """Write a PNG that names no software version and no time."""
    with written_whole(path) as beside:
        if isinstance(picture, Figure):
            picture.savefig(beside, format="png", metadata={"Software": None})
        else:
            picture.save(beside, format="PNG")
