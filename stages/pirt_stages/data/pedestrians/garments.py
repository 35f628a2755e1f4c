"""What garments show at their front and their back: necklines, openings, buttons, pockets, yokes."""

import numpy as np

from pirt_stages.data.pedestrians.canvas import Colour, Floats, Surface
from pirt_stages.data.pedestrians.identity import Upper

_NECKLINES = {"tshirt": 0.075, "vest": 0.095, "dress": 0.1, "shirt": 0.07, "hoodie": 0.05}
"""Depths below the neck, in body heights; jackets and coats open instead."""
_OPENINGS = {"jacket": 0.3, "coat": 0.2}


def darker(colour: Colour, factor: float) -> Colour:
    """Return `colour` with every channel times `factor`."""
    red, green, blue = colour
    return red * factor, green * factor, blue * factor


def panelled(colour: Colour) -> Surface:
    """Return a bag's surface: one colour and a seam below the lid."""
    tone = np.asarray(colour, np.float32)

    def paint(along: Floats, azimuth: Floats) -> Floats:
        seam = (np.abs(along - 0.045) < 0.006)[:, None]
        return np.asarray(np.where(seam, tone * 0.6, tone), np.float32)

    return paint


def upper_surface(upper: Upper, skin: Colour) -> Surface:
    """Return the upper garment on the torso, so that a front is not a back."""
    cloth, kind = upper.fabric.surface(), upper.kind
    under = np.asarray(skin if kind not in (*_OPENINGS, "hoodie") else upper.inner, np.float32)
    button = np.asarray(darker(upper.fabric.colour, 0.6), np.float32)

    def paint(along: Floats, azimuth: Floats) -> Floats:
        colours, side = cloth(along, azimuth).copy(), np.abs(azimuth)
        # Without such marks the pose network took bodies for turned round.
        if kind in _OPENINGS:
            reach = _OPENINGS[kind] * (1.35 - along)
            colours[side < reach + 0.07] *= np.float32(0.72)
            colours[side < reach] = under
        else:
            neckline = 0.62 * (1 - along / _NECKLINES[kind])
            colours[side < neckline + 0.1] *= np.float32(0.8)
            colours[side < neckline] = under
        if kind in ("shirt", "hoodie"):
            colours[(side < 0.035) & (along > _NECKLINES[kind])] = button
        if kind == "hoodie":
            colours[(side < 0.75) & (along > 0.2) & (along < 0.29)] *= np.float32(0.78)
        if kind not in ("tshirt", "vest"):
            colours[(side > 1.7) & (along < 0.085)] *= np.float32(0.8)
        return np.asarray(colours, np.float32)

    return paint


def shaded(surface: Surface, light: float) -> Surface:
    """Return `surface` with its colours times `light`."""
    return lambda along, azimuth: surface(along, azimuth) * np.float32(light)
