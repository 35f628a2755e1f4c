"""Heads: face, hair, hat, and where the five face keypoints are."""

from math import cos, sin

import numpy as np

from pirt_stages.data.pedestrians.canvas import Brush, Floats, Surface, plain
from pirt_stages.data.pedestrians.identity import Identity
from pirt_stages.data.pedestrians.parts import Part
from pirt_stages.data.pedestrians.skeleton import Gait, Point, View

WIDTH, DEPTH, HEIGHT = 0.05, 0.06, 0.071
"""Half-axes of the head in body heights."""

FACE_AZIMUTHS = {"nose": 0.0, "left_eye": 0.45, "right_eye": -0.45, "left_ear": 1.65, "right_ear": -1.65}
_FACE_HEIGHTS = {"nose": -0.01, "left_eye": 0.008, "right_eye": 0.008, "left_ear": -0.002, "right_ear": -0.002}


def face_point(name: str, centre: Point, gait: Gait) -> Point:
    """Return a face keypoint in the person's frame."""
    azimuth = FACE_AZIMUTHS[name] + gait.head_turn
    x, y, z = centre
    return x + WIDTH * sin(azimuth), y + _FACE_HEIGHTS[name], z + DEPTH * cos(azimuth)


def paint_head(identity: Identity, view: View, gait: Gait, centre: Point, brush: Brush) -> None:
    """Paint the head with face and hair, then hat."""
    top, chin = _ends(view, centre)
    width = view.half_width(WIDTH, DEPTH)
    yaw = view.yaw + gait.head_turn
    # Closest at crown and chin, where the outline bends most.
    places = [float(t) for t in (1 - np.cos(np.linspace(0, np.pi, 21))) / 2]
    egg = [(t, width * (1 - abs(2 * t - 1) ** 2.3) ** (1 / 2.3) * (1 - 0.22 * max(0.0, t - 0.5))) for t in places]
    brush.tube(Part.HEAD, top, chin, egg, _face(identity), yaw, round_ends=False)
    _mark_hair(identity, view, gait, centre, brush)
    if identity.head.hair not in ("bald",) and identity.head.hat == "none":
        crown = (top[0], top[1] + 0.018 * view.scale)
        cap = [(0.0, width * 0.86), (1.0, width * 0.98)]
        brush.tube(Part.HAIR, crown, (top[0], top[1] + 0.034 * view.scale), cap, plain(identity.head.hair_colour), yaw)
    if identity.head.hat != "none":
        _paint_hat(identity, view, yaw, top, width, brush)


def paint_back_of_head(identity: Identity, view: View, gait: Gait, centre: Point, brush: Brush) -> None:
    """Paint hair that hangs behind the head: before the body when seen from the front, after it from the back."""
    x, y, z = centre
    hair, colour = identity.head.hair, plain(identity.head.hair_colour)
    scale, yaw = view.scale, view.yaw + gait.head_turn

    def strand(start: Point, end: Point, first: float, last: float) -> None:
        profile = [(0.0, first * scale), (1.0, last * scale)]
        brush.tube(Part.HAIR, view.project(start), view.project(end), profile, colour, yaw)

    if hair == "long":
        strand((x, y + 0.01, z - 0.022), (x, y - 0.13, z - 0.05), 0.055, 0.05)
    elif hair == "bob":
        strand((x, y + 0.01, z - 0.012), (x, y - 0.05, z - 0.016), 0.056, 0.056)
    elif hair == "ponytail":
        strand((x, y + 0.02, z - 0.06), (x, y - 0.1, z - 0.085), 0.02, 0.014)
    elif hair == "bun":
        strand((x, y + 0.045, z - 0.05), (x, y + 0.05, z - 0.055), 0.027, 0.027)


def _ends(view: View, centre: Point) -> tuple[tuple[float, float], tuple[float, float]]:
    x, y, z = centre
    return view.project((x, y + HEIGHT, z)), view.project((x, y - HEIGHT, z))


def _mark_hair(identity: Identity, view: View, gait: Gait, centre: Point, brush: Brush) -> None:
    """Give the hairy part of the head's pixels to the hair, so that ears under it count as hidden."""
    if identity.head.hair not in ("long", "bob"):
        return
    yaw = view.yaw + gait.head_turn
    colour = plain(identity.head.hair_colour)
    for sign in (-1.0, 1.0):
        azimuth = sign * 1.75
        if cos(azimuth + yaw) < -0.35:
            continue
        x, y, z = centre
        azimuth += gait.head_turn
        side = (x + WIDTH * sin(azimuth), z + DEPTH * cos(azimuth))
        start, end = view.project((side[0], y + 0.02, side[1])), view.project((side[0], y - 0.055, side[1]))
        radius = 0.017 * view.scale
        brush.tube(Part.HAIR, start, end, [(0.0, radius), (1.0, radius)], colour, yaw)


def _face(identity: Identity) -> Surface:
    """Return skin with hairline, eyes, mouth, beard and glasses; distances are measured from the crown."""
    head, skin = identity.head, np.asarray(identity.body.skin, np.float32)
    hair = np.asarray(head.hair_colour, np.float32)
    hairline = {"bald": -1.0, "bob": 0.34, "long": 0.3}.get(head.hair, 0.27)

    def paint(along: Floats, azimuth: Floats) -> Floats:
        t, side = along / (2 * HEIGHT), np.abs(azimuth)
        colours = np.broadcast_to(skin, (*t.shape, 3)).copy()
        # Nose and the sockets are what one sees of a face at this size.
        colours[(side < 0.14) & (t > 0.46) & (t < 0.66)] *= 1.07
        colours[(np.abs(side - 0.42) < 0.2) & (np.abs(t - 0.43) < 0.04)] = hair * 0.8
        colours[(np.abs(side - 0.42) < 0.13) & (np.abs(t - 0.5) < 0.035)] = (34, 28, 30)
        colours[(side < 0.3) & (np.abs(t - 0.77) < 0.025)] = skin * np.asarray((0.72, 0.5, 0.5), np.float32)
        if head.glasses:
            colours[(side < 1.1) & (np.abs(t - 0.48) < 0.03)] = (22, 22, 26)
        if head.beard:
            colours[(side < 1.3) & (t > 0.68) & ~((side < 0.3) & (np.abs(t - 0.77) < 0.03))] = hair
        edge = hairline + np.clip((side - 0.7) * 0.45, 0, 0.62)
        colours[t < edge] = hair
        return np.asarray(colours, np.float32)

    return paint


def _paint_hat(
    identity: Identity, view: View, yaw: float, top: tuple[float, float], width: float, brush: Brush
) -> None:
    colour, scale = identity.head.hat_colour, view.scale
    x, y = top
    tall = 0.05 if identity.head.hat == "beanie" else 0.04
    crown = [(0.0, width * 0.8), (0.5, width * 1.06), (1.0, width * 1.1)]
    brush.tube(Part.HAIR, (x, y + 0.006 * scale), (x, y + tall * scale), crown, plain(colour), yaw, round_ends=False)
    dome = [(0.0, width * 0.78), (1.0, width * 0.8)]
    brush.tube(Part.HAIR, (x, y + 0.03 * scale), (x, y + 0.032 * scale), dome, plain(colour), yaw)
    dark = plain((colour[0] * 0.7, colour[1] * 0.7, colour[2] * 0.7))
    if identity.head.hat == "beanie":
        band = [(0.0, width * 1.12), (1.0, width * 1.12)]
        start, end = (x, y + 0.036 * scale), (x, y + 0.056 * scale)
        brush.tube(Part.HAIR, start, end, band, dark, yaw, round_ends=False)
    elif cos(yaw) > -0.5:
        # A cap's peak, which is not seen from behind; from the front it is a bar across the forehead.
        reach = 0.085 * sin(yaw) * scale
        drop = 0.012 * max(0.0, cos(yaw)) * scale
        start, end = (x, y + 0.043 * scale), (x + reach, y + 0.046 * scale + drop)
        radius = 0.011 * scale if abs(reach) > 0.03 * scale else width * 0.95
        if abs(reach) <= 0.03 * scale:
            start, end, radius = (x - width * 0.8, start[1]), (x + width * 0.8, start[1]), 0.014 * scale
        brush.tube(Part.HAIR, start, end, [(0.0, radius), (1.0, radius)], dark, 0)
