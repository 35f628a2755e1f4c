"""Things that stand between camera and person, drawn as layers of the canvas's size."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from pirt_stages.data.pedestrians.canvas import Floats, Mask

Layer = tuple[Floats, Mask]
"""Colours h×w×3 in [0, 255] and where the thing covers."""

_RGBA = tuple[int, int, int, int]


def draw_thing(name: str, rng: np.random.Generator, height: int, width: int) -> Layer:
    """Draw one occluder of the kind `name` somewhere in front of the middle of a height × width canvas."""
    image = Image.new("RGBA", (width, height))
    THINGS[name](ImageDraw.Draw(image), rng, height, width)
    pixels = np.asarray(image)
    mask = pixels[..., 3] > 0
    # As in the scenes, no area is flat.
    grain = 1 + 0.04 * rng.standard_normal((height // 8, width // 8)).astype(np.float32)
    return pixels[..., :3].astype(np.float32) * np.kron(grain, np.ones((8, 8), np.float32))[..., None], mask


def _tone(rng: np.random.Generator, low: float = 40, high: float = 200, hue: float = 30) -> _RGBA:
    grey = rng.uniform(low, high)
    red, green, blue = (int(np.clip(grey + rng.normal(0, hue), 8, 245)) for _ in range(3))
    return red, green, blue, 255


def _times(colour: _RGBA, factor: float) -> _RGBA:
    red, green, blue = (int(min(250, tone * factor)) for tone in colour[:3])
    return red, green, blue, 255


def _box(draw: ImageDraw.ImageDraw, rng: np.random.Generator, height: int, width: int) -> None:
    grey = float(rng.uniform(0.7, 1.1))
    colour = _times((176, 136, 92, 255), grey) if rng.random() < 0.6 else _tone(rng)
    wide, tall = rng.uniform(0.45, 1.0) * width, rng.uniform(0.25, 0.6) * height
    left, top = rng.uniform(-0.2, 1.1) * width - wide / 2, height - tall
    side = rng.uniform(0.1, 0.25) * width
    draw.rectangle((left, top, left + wide, height), fill=colour)
    draw.polygon(((left, top), (left + side, top - side / 2), (left + wide + side, top - side / 2), (left + wide, top)),
                 fill=_times(colour, 1.2))  # fmt: skip
    draw.polygon(((left + wide, top), (left + wide + side, top - side / 2), (left + wide + side, height),
                  (left + wide, height)), fill=_times(colour, 0.7))  # fmt: skip
    draw.rectangle((left + wide * 0.44, top, left + wide * 0.56, height), fill=_times(colour, 1.12))
    draw.rectangle((left, top + tall * 0.45, left + wide, top + tall * 0.47), fill=_times(colour, 0.75))


def _pole(draw: ImageDraw.ImageDraw, rng: np.random.Generator, height: int, width: int) -> None:
    wide, centre, colour = rng.uniform(0.1, 0.3) * width, rng.uniform(0.3, 0.7) * width, _tone(rng, 60, 190, 12)
    slices = 18
    for number in range(slices):
        left = centre - wide / 2 + wide * number / slices
        bright = 0.6 + 0.5 * float(np.sin(np.pi * (number + 0.5) / slices))
        draw.rectangle((left, 0, left + wide / slices + 1, height), fill=_times(colour, bright))
    if rng.random() < 0.5:
        top = rng.uniform(0.1, 0.5) * height
        sign = (centre - wide * 0.75, top, centre + wide * 0.75, top + wide * 1.3)
        draw.rectangle(sign, fill=_tone(rng, 60, 220, 60), outline=(235, 235, 235, 255), width=4)


def _plant(draw: ImageDraw.ImageDraw, rng: np.random.Generator, height: int, width: int) -> None:
    centre, pot = rng.uniform(0.2, 0.8) * width, _tone(rng, 80, 170, 25)
    tall, wide = rng.uniform(0.3, 0.72) * height, rng.uniform(0.3, 0.55) * width
    if rng.random() < 0.6:
        rim = height - 0.14 * height
        draw.polygon(((centre - wide * 0.7, rim), (centre + wide * 0.7, rim), (centre + wide * 0.5, height),
                      (centre - wide * 0.5, height)), fill=pot)  # fmt: skip
    for _ in range(220):
        rise = float(rng.beta(1.3, 1.6))
        spread = wide * (0.45 + 0.75 * np.sin(np.pi * min(1.0, rise * 0.75 + 0.2)))
        x, y = centre + rng.normal(0, 0.5) * spread, height - 0.08 * height - rise * tall
        size, green = rng.uniform(7, 17), float(rng.uniform(55, 135))
        angle = rng.uniform(0, np.pi)
        dx, dy = size * 1.6 * np.cos(angle), size * 1.6 * np.sin(angle)
        leaf = (int(green * 0.65), int(green), int(green * 0.42), 255)
        points = ((x - dx, y - dy), (x - dy * 0.35, y + dx * 0.35), (x + dx, y + dy), (x + dy * 0.35, y - dx * 0.35))
        draw.polygon(points, fill=leaf)


def _car(draw: ImageDraw.ImageDraw, rng: np.random.Generator, height: int, width: int) -> None:
    paint, foot = _tone(rng, 50, 220, 45), height * rng.uniform(0.96, 1.06)
    long, tall = width * rng.uniform(1.6, 2.4), height * rng.uniform(0.36, 0.5)
    left = rng.uniform(-1.2, 0.3) * width
    if rng.random() < 0.5:
        left = min(left, width * 0.3 - long)
    body, roof = foot - tall * 0.6, foot - tall
    cabin = (
        (left + long * 0.18, body),
        (left + long * 0.3, roof),
        (left + long * 0.7, roof),
        (left + long * 0.86, body),
    )
    draw.polygon(cabin, fill=_times(paint, 0.9))
    pane = (46, 56, 66, 255)
    for start, end in ((0.24, 0.48), (0.51, 0.78)):
        glass = ((left + long * start, body - 4), (left + long * max(start, 0.32), roof + tall * 0.07),
                 (left + long * min(end, 0.69), roof + tall * 0.07), (left + long * end, body - 4))  # fmt: skip
        draw.polygon(glass, fill=pane)
    draw.rounded_rectangle((left, body, left + long, foot - tall * 0.1), 22, fill=paint)
    draw.rectangle((left, foot - tall * 0.32, left + long, foot - tall * 0.29), fill=_times(paint, 0.65))
    for centre in (0.2, 0.8):
        x, y, r = left + long * centre, foot - tall * 0.12, tall * 0.17
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(24, 24, 26, 255))
        draw.ellipse((x - r * 0.55, y - r * 0.55, x + r * 0.55, y + r * 0.55), fill=(150, 152, 156, 255))
    draw.rounded_rectangle((left, body + 8, left + 18, body + 34), 6, fill=(240, 226, 160, 255))


def _umbrella(draw: ImageDraw.ImageDraw, rng: np.random.Generator, height: int, width: int) -> None:
    colours = (_tone(rng, 40, 200, 55), _tone(rng, 40, 200, 55))
    colour, radius = colours[0], rng.uniform(0.5, 0.8) * width
    x, rim = rng.uniform(0.15, 0.85) * width, rng.uniform(0.24, 0.52) * height
    draw.rectangle((x - 4, rim - 10, x + 4, rim + height * 0.45), fill=(60, 50, 44, 255))
    dome = radius * rng.uniform(0.5, 0.85)
    panels = 6
    for number in range(panels):
        start, end = 180 + number * 180 / panels, 180 + (number + 1) * 180 / panels
        shade = _times(colours[number % 2] if radius > 0.65 * width else colour, 0.75 + 0.07 * number)
        draw.pieslice((x - radius, rim - dome, x + radius, rim + dome), start, end, fill=shade)
    for number in range(panels):
        left = x - radius + 2 * radius * number / panels
        draw.pieslice((left, rim - 14, left + 2 * radius / panels, rim + 14), 0, 180, fill=_times(colour, 0.6))


def _wall(draw: ImageDraw.ImageDraw, rng: np.random.Generator, height: int, width: int) -> None:
    brick, upright = _tone(rng, 100, 170, 22), rng.random() < 0.5
    left, top, right = 0.0, 0.0, float(width)
    if upright and rng.random() < 0.5:
        right = rng.uniform(0.3, 0.62) * width
    elif upright:
        left = rng.uniform(0.38, 0.7) * width
    else:
        top = rng.uniform(0.42, 0.78) * height
    draw.rectangle((left, top, right, height), fill=_times(brick, 1.25))
    for row, y in enumerate(np.arange(top, height, 20)):
        for x in np.arange(left - (row % 2) * 24, right, 48):
            edge = (max(x, left), y + 2, min(x + 45, right), min(y + 17, height))
            if edge[2] > edge[0] and edge[3] > edge[1]:
                draw.rectangle(edge, fill=_times(brick, float(rng.uniform(0.8, 1.05))))
    if not upright:
        draw.rectangle((left, top - 12, right, top), fill=_times(brick, 1.4))


THINGS: dict[str, Callable[[ImageDraw.ImageDraw, np.random.Generator, int, int], None]] = {
    "box": _box,
    "pole": _pole,
    "plant": _plant,
    "car": _car,
    "umbrella": _umbrella,
    "wall": _wall,
}
