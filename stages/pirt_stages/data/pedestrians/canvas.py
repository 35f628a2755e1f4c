"""A canvas that knows which part owns each pixel, and its one brush: a shaded, textured tube."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Colour = tuple[float, float, float]
Surface = Callable[[Floats, Floats], Floats]
"""Colours in [0, 255] (…×3) at a distance along the tube (body heights) and an azimuth (radians, 0 is the front)."""

Outline = Sequence[tuple[float, float]]
"""(fraction of the axis, radius in pixels), with rising fractions."""


@dataclass(frozen=True)
class Canvas:
    """Colours h×w×3 in [0, 255] and the number of the part that owns each pixel (h×w, 0 is none)."""

    height: int
    width: int
    colour: Floats = field(init=False)
    owner: npt.NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "colour", np.zeros((self.height, self.width, 3), np.float32))
        object.__setattr__(self, "owner", np.zeros((self.height, self.width), np.uint8))

    @property
    def mask(self) -> Mask:
        """Where anything was painted."""
        return self.owner > 0

    def window(self, left: float, top: float, right: float, bottom: float) -> tuple[slice, slice] | None:
        """Return the rows and columns of a box clipped to the canvas; None when nothing is left of it."""
        rows = slice(max(0, int(top)), min(self.height, int(bottom) + 2))
        columns = slice(max(0, int(left)), min(self.width, int(right) + 2))
        return None if rows.start >= rows.stop or columns.start >= columns.stop else (rows, columns)


@dataclass(frozen=True)
class Brush:
    """How tubes look on one canvas: pixels per body height, where the light comes from, how hard it is."""

    canvas: Canvas
    scale: float
    light: float
    contrast: float

    def tube(
        self,
        part: int,
        start: tuple[float, float],
        end: tuple[float, float],
        profile: Outline,
        surface: Surface,
        yaw: float,
        round_ends: bool = True,
    ) -> None:
        """Paint a body of revolution along start→end; `yaw` turns its surface towards the camera."""
        (x0, y0), (x1, y1) = start, end
        # A limb that points at the camera has no length to divide by.
        length = max(1e-3, float(np.hypot(x1 - x0, y1 - y0)))
        widest = max(radius for _, radius in profile)
        reach = widest + 1
        window = self.canvas.window(min(x0, x1) - reach, min(y0, y1) - reach, max(x0, x1) + reach, max(y0, y1) + reach)
        if window is None:
            return
        rows, columns = np.ogrid[window]
        # From the start of the axis to the pixels' centres.
        dx, dy = (columns + (0.5 - x0)).astype(np.float32), (rows + (0.5 - y0)).astype(np.float32)
        ax, ay = (x1 - x0) / length, (y1 - y0) / length
        # The normal points to the right of the image, so that light and azimuth agree between tubes.
        nx, ny = (ay, -ax) if ay >= 0 else (-ay, ax)
        along = dx * np.float32(ax) + dy * np.float32(ay)
        aside = dx * np.float32(nx) + dy * np.float32(ny)
        places, radii = zip(*profile, strict=True)
        radius = np.interp(along / length, places, radii).astype(np.float32)
        inside = np.abs(aside) <= radius
        if round_ends:
            beyond = np.maximum(np.maximum(-along, along - length), 0)
            inside &= beyond**2 + aside**2 <= radius**2
        else:
            inside &= (along >= 0) & (along <= length)
        v = np.clip(aside[inside] / np.maximum(radius[inside], 1e-3), -1, 1)
        azimuth = (np.arcsin(v) - np.float32(yaw) + np.float32(np.pi)) % np.float32(2 * np.pi) - np.float32(np.pi)
        distance = along[inside] / np.float32(self.scale)
        shade = self._shade(v) * (1 + 0.035 * np.sin(distance * 61 + azimuth * 2.3 + part))
        self.canvas.colour[window][inside] = surface(distance, azimuth) * shade[:, None]
        self.canvas.owner[window][inside] = part

    def _shade(self, v: Floats) -> Floats:
        square = v * v
        facing = v * np.float32(np.sin(self.light)) + np.sqrt(1 - square) * np.float32(np.cos(self.light))
        rim = 1 - np.float32(0.28) * square * square * square
        return np.asarray((1 - self.contrast + self.contrast * np.maximum(facing, -0.3)) * rim, np.float32)


def plain(colour: Colour) -> Surface:
    """Return a surface of one colour."""
    tone = np.asarray(colour, np.float32)
    return lambda along, azimuth: np.broadcast_to(tone, (*along.shape, 3))
