"""One picture: scene, person, occluder, light and optics, from its own random numbers."""

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

from pirt_stages.data.pedestrians.cameras import PANORAMA, Camera, camera_of, scene_of
from pirt_stages.data.pedestrians.canvas import Brush, Canvas, Floats, Mask
from pirt_stages.data.pedestrians.figure import Figure, Keypoint
from pirt_stages.data.pedestrians.identity import identity_of
from pirt_stages.data.pedestrians.occluders import THINGS, Layer, draw_thing
from pirt_stages.data.pedestrians.skeleton import ARM_POSES, Gait, View

HEIGHT, WIDTH = 128, 64
"""Size of a picture in pixels."""

# Four took twice the time and gave the same picture.
_S = 3
"""Everything is drawn this many times larger and averaged down."""

LEAST, MOST = 0.2, 0.7
"""Bounds on the fraction of a person that an occluder covers."""

Crop = Literal["good", "bad"]
_STRANGERS = 1_000_000
"""From here on identities are numbered that only stand in the way; no profile has so many."""


@dataclass(frozen=True)
class Shot:
    """Which picture: identity and camera are numbered from 0, `frame` counts a person's pictures of one camera."""

    identity: int
    camera: int
    frame: int
    occluded: bool
    crop: Crop = "good"


@dataclass(frozen=True)
class Picture:
    """A rendered shot: JPEG bytes and the truth about it. `keypoints` are K×3: x, y in pixels, COCO visibility."""

    jpeg: bytes
    keypoints: tuple[tuple[float, float, int], ...]
    box: tuple[int, int, int, int]
    area: int
    occlusion: float
    occluder: str | None


def render(seed: int, shot: Shot) -> Picture:
    """Render `shot` of the world `seed`; the same arguments give the same bytes in any process."""
    # The order of all draws decides the bytes: one more or less changes what follows.
    rng = np.random.default_rng([seed, 5, shot.identity, shot.camera, shot.frame])
    camera = camera_of(seed, shot.camera)
    view = _view(seed, shot, camera, rng)
    figure = _figure(seed, shot.identity, view, camera, _gait(seed, shot, rng))
    canvas, person = figure.brush.canvas, figure.brush.canvas.mask
    colour = _backdrop(seed, shot, rng)
    _cast_shadow(colour, view, camera)
    colour[person] = canvas.colour[person]
    hidden, occluder = np.zeros_like(person), None
    # Drawn after pose, view and scene, which are then the same without an occluder, as `study.truth` expects.
    if shot.occluded:
        occluder, (paint, hidden) = _occluder(seed, shot, camera, view, person, rng)
        colour[hidden] = paint[hidden]
    shown = person & ~hidden
    return Picture(
        jpeg=_exposed(colour, camera, rng),
        keypoints=tuple(_truth(keypoint, hidden) for keypoint in figure.keypoints()),
        box=_box_of(person),
        area=int(shown.sum() / _S**2),
        occlusion=round(1 - float(shown.sum() / max(1, person.sum())), 4),
        occluder=occluder,
    )


def _view(seed: int, shot: Shot, camera: Camera, rng: np.random.Generator) -> View:
    # `visit` draws what all of a person's pictures by one camera share, `rng` what is of this picture alone.
    visit = np.random.default_rng([seed, 6, shot.identity, shot.camera])
    turn = np.pi if visit.random() < 0.2 else 0.0
    yaw = camera.yaw + turn + visit.normal(0, 0.35) + rng.normal(0, 0.18)
    scale = _S * HEIGHT * rng.uniform(0.84, 0.97)
    centre = _S * WIDTH * (0.5 + rng.normal(0, 0.035))
    ground = _S * HEIGHT * (0.965 + rng.normal(0, 0.012))
    if shot.crop == "bad":
        scale *= rng.uniform(1.3, 1.8)
        ground += _S * HEIGHT * rng.uniform(-0.1, 0.6)
        centre += _S * WIDTH * rng.uniform(-0.4, 0.4)
    return View(float(yaw), camera.pitch, float(scale), float(centre), float(ground))


def _gait(seed: int, shot: Shot, rng: np.random.Generator) -> Gait:
    visit = np.random.default_rng([seed, 7, shot.identity, shot.camera])
    arms = ARM_POSES[int(visit.integers(len(ARM_POSES)))]
    stride = float(visit.uniform(0.2, 0.48)) if visit.random() < 0.85 else 0.06
    return Gait(
        phase=float(rng.uniform(0, 2 * np.pi)),
        stride=stride,
        arm_swing=stride * float(visit.uniform(0.7, 1.3)),
        arms=arms,
        head_turn=float(rng.normal(0, 0.3)),
    )


def _figure(seed: int, identity: int, view: View, camera: Camera, gait: Gait) -> Figure:
    canvas = Canvas(_S * HEIGHT, _S * WIDTH)
    figure = Figure(identity_of(seed, identity), gait, view, Brush(canvas, view.scale, camera.light, camera.contrast))
    figure.paint()
    return figure


def _backdrop(seed: int, shot: Shot, rng: np.random.Generator) -> Floats:
    zoom = rng.uniform(0.8, 1.0)
    wide, tall = PANORAMA[1] / 2 * zoom, PANORAMA[1] * zoom
    left, top = rng.uniform(0, PANORAMA[0] - wide), rng.uniform(0, PANORAMA[1] - tall)
    box = (left, top, left + wide, top + tall)
    window = scene_of(seed, shot.camera).resize((_S * WIDTH, _S * HEIGHT), Image.Resampling.BILINEAR, box)
    return np.asarray(window, np.float32).copy()


def _cast_shadow(colour: Floats, view: View, camera: Camera) -> None:
    rows, columns = np.ogrid[: colour.shape[0], : colour.shape[1]]
    across = (columns - view.centre + 0.12 * view.scale * np.sin(camera.light)) / (0.2 * view.scale)
    down = (rows - view.ground + 0.01 * view.scale) / (0.045 * view.scale)
    depth = np.clip(1.2 - across**2 - down**2, 0, 1)
    colour *= (1 - 0.5 * depth)[..., None].astype(np.float32)


def _occluder(
    seed: int, shot: Shot, camera: Camera, view: View, person: Mask, rng: np.random.Generator
) -> tuple[str, Layer]:
    """Draw occluders until one covers between LEAST and MOST of the person."""
    names = ("pedestrian", "pedestrian", *THINGS)
    total = max(1, int(person.sum()))
    while True:
        name = names[int(rng.integers(len(names)))]
        # Some kinds hardly ever cover a person as asked; another one is drawn instead of trying for ever.
        for _ in range(12):
            layer = _stranger(seed, camera, view, rng) if name == "pedestrian" else draw_thing(name, rng, *person.shape)
            for shift in (0, *rng.integers(-_S * WIDTH // 2, _S * WIDTH // 2, 4)):
                colour, mask = _shifted(layer, int(shift))
                if LEAST <= (mask & person).sum() / total <= MOST:
                    return name, (colour, mask)


def _shifted(layer: Layer, columns: int) -> Layer:
    """Move a layer to the right (to the left when negative); what comes in is empty."""
    colour, mask = np.roll(layer[0], columns, axis=1), np.roll(layer[1], columns, axis=1)
    mask[:, slice(columns) if columns >= 0 else slice(columns, None)] = False
    return colour, mask


def _stranger(seed: int, camera: Camera, view: View, rng: np.random.Generator) -> Layer:
    """Draw somebody who walks between camera and person."""
    nearer = float(rng.uniform(1.02, 1.3))
    side = float(rng.choice((-1, 1)) * rng.uniform(0.08, 0.38)) * _S * WIDTH
    closer = View(
        yaw=float(rng.uniform(-np.pi, np.pi)),
        pitch=view.pitch,
        scale=view.scale * nearer,
        centre=view.centre + side,
        ground=view.ground + view.scale * float(rng.uniform(0.02, 0.3)),
    )
    stride = float(rng.uniform(0.1, 0.45))
    gait = Gait(float(rng.uniform(0, 2 * np.pi)), stride, stride, ARM_POSES[int(rng.integers(6))], 0.0)
    canvas = _figure(seed, _STRANGERS + int(rng.integers(100_000)), closer, camera, gait).brush.canvas
    return canvas.colour, canvas.mask


def _exposed(colour: Floats, camera: Camera, rng: np.random.Generator) -> bytes:
    """Return what the camera makes of the scene, as JPEG."""
    # In a camera's order: exposure and colours, resolution and focus, noise, compression.
    gain = camera.gain * rng.uniform(0.9, 1.1)
    small = np.asarray(Image.fromarray(np.clip(colour, 0, 255).astype(np.uint8)).reduce(_S), np.float32) / 255
    light = small ** np.float32(camera.gamma) * np.asarray(camera.cast, np.float32) * np.float32(255 * gain)
    image = Image.fromarray(np.clip(light, 0, 255).astype(np.uint8))
    if camera.sharpness < 0.95:
        coarse = (round(WIDTH * camera.sharpness), round(HEIGHT * camera.sharpness))
        image = image.resize(coarse, Image.Resampling.BOX).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    image = image.filter(ImageFilter.GaussianBlur(camera.blur * rng.uniform(0.5, 1.2)))
    noisy = np.asarray(image, np.float32) + rng.normal(0, camera.noise, (HEIGHT, WIDTH, 3)).astype(np.float32)
    stream = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=camera.quality)
    return stream.getvalue()


def _truth(keypoint: Keypoint, hidden: Mask) -> tuple[float, float, int]:
    """Return image position (centre of the first pixel is 0) and visibility: 0 outside, 1 covered, 2 seen."""
    x, y = keypoint.x, keypoint.y
    if not (0 <= x < _S * WIDTH and 0 <= y < _S * HEIGHT):
        return 0.0, 0.0, 0
    covered = keypoint.hidden or bool(hidden[int(y), int(x)])
    return round(x / _S - 0.5, 2), round(y / _S - 0.5, 2), 1 if covered else 2


def _box_of(person: Mask) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(person.any(1)), np.flatnonzero(person.any(0))
    if not len(rows):
        return 0, 0, 0, 0
    left, top = int(columns[0]) // _S, int(rows[0]) // _S
    return left, top, int(columns[-1]) // _S - left + 1, int(rows[-1]) // _S - top + 1
