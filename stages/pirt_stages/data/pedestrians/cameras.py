"""Cameras: where they look from, their light and optics, and the scene behind the people."""

from dataclasses import dataclass
from functools import lru_cache
from math import pi

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pirt_stages.data.pedestrians.canvas import Colour

CAMERAS = 8
PANORAMA = (1400, 512)
"""Width and height of a camera's scene; pictures show windows of it."""

_YAWS = (0.15, pi - 0.2, pi / 2, -pi / 2, -0.7, pi + 0.75, 0.5, -2.3)
"""So that fronts, backs and both sides are all seen by some camera."""


@dataclass(frozen=True)
class Camera:
    """Facts of one camera; angles in radians, blur in image pixels, noise in grey levels."""

    yaw: float
    pitch: float
    light: float
    contrast: float
    cast: Colour
    gain: float
    gamma: float
    blur: float
    noise: float
    sharpness: float
    quality: int
    horizon: float


def camera_of(seed: int, number: int) -> Camera:
    """Return camera `number` (from 0) of the world `seed`."""
    # The second number sets one kind of thing's chance apart from another's: here cameras from identities and scenes.
    rng = np.random.default_rng([seed, 3, number])
    cast = rng.normal(1, 0.07, 3)
    # A tint alone, for brightness is the gain's.
    red, green, blue = (float(tone) for tone in np.clip(cast / cast.mean(), 0.82, 1.2))
    return Camera(
        yaw=_YAWS[number % len(_YAWS)],
        pitch=float(rng.uniform(0.05, 0.25)),
        light=float(rng.uniform(-1.1, 1.1)),
        contrast=float(rng.uniform(0.25, 0.55)),
        cast=(red, green, blue),
        gain=float(rng.uniform(0.75, 1.12)),
        gamma=float(rng.uniform(0.85, 1.2)),
        blur=float(rng.uniform(0.0, 0.7)),
        noise=float(rng.uniform(1.0, 6.0)),
        sharpness=float(rng.uniform(0.6, 1.0)),
        quality=int(rng.integers(80, 94)),
        horizon=float(rng.uniform(0.22, 0.5)),
    )


# Pictures are windows of it: each process draws it once a camera.
@lru_cache(maxsize=32)
def scene_of(seed: int, number: int) -> Image.Image:
    """Draw what stands behind the people of one camera: a back wall or green, ground, street furniture."""
    rng = np.random.default_rng([seed, 4, number])
    width, height = PANORAMA
    horizon = int(height * camera_of(seed, number).horizon)
    image = Image.new("RGB", PANORAMA)
    draw = ImageDraw.Draw(image)
    backdrops = (_facade, _bricks, _park, _glass)
    backdrops[number % len(backdrops)](draw, rng, width, horizon)
    grounds = (_tiles, _asphalt, _path)
    grounds[number % len(grounds)](draw, rng, width, horizon, height)
    for _ in range(int(rng.integers(5, 9))):
        furniture = (_post, _tree, _bin, _bench)
        furniture[int(rng.integers(len(furniture)))](draw, rng, int(rng.integers(width)), horizon, height)
    return _grained(image.filter(ImageFilter.GaussianBlur(1.6)), rng)


def _grained(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Multiply by smooth light and fine grain, so that no area is flat."""
    width, height = image.size
    factor = np.ones((height, width, 1), np.float32)
    for cells, strength in ((6, 0.12), (40, 0.06), (170, 0.05)):
        coarse = Image.fromarray(rng.normal(0, 1, (cells // 2 + 2, cells)).astype(np.float32))
        factor[..., 0] += strength * np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    return Image.fromarray(np.clip(np.asarray(image, np.float32) * factor, 0, 255).astype(np.uint8))


def _tone(rng: np.random.Generator, low: int = 70, high: int = 190, hue: float = 14) -> tuple[int, int, int]:
    grey = rng.uniform(low, high)
    red, green, blue = (int(np.clip(grey + rng.normal(0, hue), 10, 245)) for _ in range(3))
    return red, green, blue


def _shaded(colour: tuple[int, int, int], factor: float) -> tuple[int, int, int]:
    red, green, blue = (int(min(250, tone * factor)) for tone in colour)
    return red, green, blue


def _facade(draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, horizon: int) -> None:
    wall = _tone(rng, 110, 190)
    draw.rectangle((0, 0, width, horizon), fill=wall)
    for left in range(int(rng.integers(0, 60)), width, int(rng.integers(110, 170))):
        pane, wide = _tone(rng, 40, 110), int(rng.integers(50, 80))
        draw.rectangle((left - 5, int(horizon * 0.12), left + wide + 5, int(horizon * 0.88)), fill=_shaded(wall, 0.75))
        draw.rectangle((left, int(horizon * 0.16), left + wide, int(horizon * 0.84)), fill=pane)
        draw.line((left + wide // 2, int(horizon * 0.16), left + wide // 2, int(horizon * 0.84)), fill=wall, width=4)
    draw.rectangle((0, horizon - 14, width, horizon), fill=_shaded(wall, 0.6))


def _bricks(draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, horizon: int) -> None:
    brick = (int(rng.integers(120, 170)), int(rng.integers(70, 100)), int(rng.integers(55, 85)))
    draw.rectangle((0, 0, width, horizon), fill=_shaded(brick, 1.3))
    for row, top in enumerate(range(0, horizon, 15)):
        for left in range(-20 + (row % 2) * 20, width, 40):
            box = (left, top, left + 37, min(top + 12, horizon))
            draw.rectangle(box, fill=_shaded(brick, float(rng.uniform(0.8, 1.1))))


def _park(draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, horizon: int) -> None:
    draw.rectangle((0, 0, width, horizon), fill=(150, 170, 180))
    for _ in range(420):
        x, y = float(rng.uniform(0, width)), float(rng.uniform(-20, horizon - 12))
        size, green = float(rng.uniform(14, 48)), float(rng.uniform(60, 125))
        leaf = (int(green * 0.72), int(green), int(green * 0.5))
        draw.ellipse((x - size, y - size * 0.7, x + size, y + size * 0.7), fill=leaf)


def _glass(draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, horizon: int) -> None:
    draw.rectangle((0, 0, width, horizon), fill=_tone(rng, 40, 80))
    step = int(rng.integers(70, 120))
    for left in range(0, width, step):
        draw.rectangle((left + 4, 8, left + step - 4, horizon - 10), fill=_tone(rng, 80, 170, 10))
        slope = int(rng.integers(10, 50))
        shine = ((left + 10, horizon - 20), (left + 10 + slope, 8), (left + 26 + slope, 8), (left + 26, horizon - 20))
        draw.polygon(shine, fill=_tone(rng, 150, 210, 8))


def _tiles(draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, horizon: int, height: int) -> None:
    ground = _tone(rng, 105, 175, 9)
    draw.rectangle((0, horizon, width, height), fill=ground)
    line, middle = _shaded(ground, 0.82), width // 2
    for offset in range(-3 * width, 3 * width, 90):
        draw.line((middle + offset // 3, horizon, middle + offset, height), fill=line, width=3)
    for step in np.geomspace(6, height - horizon, 12):
        draw.line((0, horizon + step, width, horizon + step), fill=line, width=3)


def _asphalt(draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, horizon: int, height: int) -> None:
    ground = _tone(rng, 65, 115, 5)
    draw.rectangle((0, horizon, width, height), fill=ground)
    kerb = horizon + (height - horizon) // 5
    draw.rectangle((0, horizon, width, kerb), fill=_shaded(ground, 1.5))
    draw.rectangle((0, kerb, width, kerb + 9), fill=_shaded(ground, 1.9))
    top = kerb + (height - kerb) // 2
    for left in range(0, width, 260):
        stripe = ((left, top), (left + 120, top), (left + 105, top + 22), (left - 15, top + 22))
        draw.polygon(stripe, fill=(205, 203, 190))


def _path(draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, horizon: int, height: int) -> None:
    draw.rectangle((0, horizon, width, height), fill=(86, 122, 62))
    sand = _tone(rng, 140, 190, 10)
    top = horizon + (height - horizon) // 4
    draw.rectangle((0, top, width, height), fill=sand)
    for left in range(0, width, 9):
        blade = int(rng.integers(4, 16))
        draw.line((left, top + 3, left + int(rng.integers(-5, 6)), top - blade), fill=(70, 105, 48), width=3)


def _post(draw: ImageDraw.ImageDraw, rng: np.random.Generator, x: int, horizon: int, height: int) -> None:
    colour, foot = _tone(rng, 40, 150), horizon + int(rng.integers(5, 60))
    draw.rectangle((x, 0, x + 9, foot), fill=colour)
    draw.rectangle((x - 22, 30, x + 31, 66), fill=_tone(rng, 60, 200, 50))


def _tree(draw: ImageDraw.ImageDraw, rng: np.random.Generator, x: int, horizon: int, height: int) -> None:
    foot = horizon + int(rng.integers(10, 50))
    draw.polygon(((x - 13, foot), (x - 8, 0), (x + 8, 0), (x + 13, foot)), fill=(84, 66, 50))
    for _ in range(24):
        dx, dy, size = rng.normal(0, 46), rng.uniform(-30, horizon * 0.45), rng.uniform(14, 34)
        green = float(rng.uniform(60, 120))
        box = (x + dx - size, dy - size, x + dx + size, dy + size)
        draw.ellipse(box, fill=(int(green * 0.7), int(green), int(green * 0.45)))


def _bin(draw: ImageDraw.ImageDraw, rng: np.random.Generator, x: int, horizon: int, height: int) -> None:
    foot, colour = horizon + int(rng.integers(30, 90)), _tone(rng, 40, 150, 35)
    draw.rectangle((x, foot - 88, x + 50, foot), fill=colour)
    draw.rectangle((x - 4, foot - 98, x + 54, foot - 82), fill=_shaded(colour, 0.6))


def _bench(draw: ImageDraw.ImageDraw, rng: np.random.Generator, x: int, horizon: int, height: int) -> None:
    foot, colour = horizon + int(rng.integers(30, 90)), (118, 84, 54)
    for rise in (74, 56, 34):
        draw.rectangle((x, foot - rise, x + 170, foot - rise + 11), fill=colour)
    for left in (x + 12, x + 150):
        draw.rectangle((left, foot - 74, left + 8, foot), fill=(48, 48, 52))
