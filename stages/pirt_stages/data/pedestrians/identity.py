"""Who is drawn: body, head, garments; and groups of look-alikes that share all but one of the three parts."""

from dataclasses import dataclass, replace
from typing import Literal, TypeVar, get_args

import numpy as np

from pirt_stages.data.pedestrians.canvas import Colour, Floats, Surface
from pirt_stages.data.pedestrians.skeleton import Body

LOOKALIKES = 4
"""Identities in a group: the first, and one each with another head, upper body and lower body."""

Pattern = Literal["plain", "stripes", "pinstripes", "checks", "dots", "block", "print"]
Hair = Literal["short", "bald", "bob", "long", "ponytail", "bun"]
Hat = Literal["none", "cap", "beanie"]
UpperKind = Literal["tshirt", "shirt", "hoodie", "jacket", "coat", "vest", "dress"]
LowerKind = Literal["trousers", "wide", "jeans", "shorts", "skirt", "tights"]
Bag = Literal["none", "backpack", "shoulder", "handbag"]

PALETTE: tuple[Colour, ...] = (
    (28, 28, 32), (70, 72, 78), (150, 152, 156), (232, 232, 228), (30, 42, 88), (48, 92, 176), (142, 186, 224),
    (186, 34, 38), (108, 24, 48), (38, 110, 58), (98, 104, 54), (196, 172, 126), (104, 68, 42), (234, 198, 62),
    (232, 150, 178), (110, 62, 142), (232, 120, 36), (34, 138, 142),
)  # fmt: skip
SKINS: tuple[Colour, ...] = ((242, 206, 180), (226, 182, 148), (198, 148, 112), (150, 104, 74), (98, 66, 48))
HAIRS: tuple[Colour, ...] = ((24, 20, 20), (62, 42, 30), (112, 74, 44), (206, 168, 98), (146, 62, 32), (172, 170, 168))
DENIMS: tuple[Colour, ...] = ((40, 54, 92), (82, 108, 150), (34, 36, 48))


@dataclass(frozen=True)
class Fabric:
    """A cloth: two colours, a pattern, its repeats per body height and the seed of its print."""

    pattern: Pattern
    colour: Colour
    second: Colour
    repeats: float
    motif: int

    def surface(self) -> Surface:
        """Return the colours of this cloth on a body."""
        base, second = np.asarray(self.colour, np.float32), np.asarray(self.second, np.float32)

        def paint(along: Floats, azimuth: Floats) -> Floats:
            share = self._share(along, azimuth).astype(np.float32)[..., None]
            return np.asarray(base + (second - base) * share, np.float32)

        return paint

    def _share(self, along: Floats, azimuth: Floats) -> Floats:
        """Return how much of the second colour shows, 0 to 1."""
        # An azimuth times a body's radius is a length, as `along` is.
        down, around = along * self.repeats, azimuth * 0.115 * self.repeats
        match self.pattern:
            case "stripes":
                return np.asarray(down % 1 < 0.45, np.float32)
            case "pinstripes":
                return np.asarray(around % 1 < 0.35, np.float32)
            case "checks":
                return np.asarray(0.5 * (down % 1 < 0.45) + 0.5 * (around % 1 < 0.45), np.float32)
            case "dots":
                return np.asarray((down % 1 - 0.5) ** 2 + (around % 1 - 0.5) ** 2 < 0.09, np.float32)
            case "block":
                return np.asarray(along < 0.1 + 0.006 * (self.motif % 10), np.float32)
            case "print":
                return self._printed(along, azimuth)
        return np.zeros_like(along)

    def _printed(self, along: Floats, azimuth: Floats) -> Floats:
        row = np.floor((along - 0.07) / 0.022).astype(np.int64)
        column = np.floor(np.abs(azimuth) / 0.16).astype(np.int64)
        inside = (row >= 0) & (row < 5) & (column < 3)
        # Outside the shift could be negative, which NumPy leaves undefined.
        bit = (self.motif >> np.where(inside, row * 3 + column, 0)) & 1
        return np.asarray(inside & (bit == 1), np.float32)


@dataclass(frozen=True)
class Head:
    """What makes a head: hair, hat, glasses, beard."""

    hair: Hair
    hair_colour: Colour
    hat: Hat
    hat_colour: Colour
    glasses: bool
    beard: bool


@dataclass(frozen=True)
class Upper:
    """A garment on the upper body; `inner` shows where it is open."""

    kind: UpperKind
    fabric: Fabric
    inner: Colour


@dataclass(frozen=True)
class Lower:
    """A garment on the lower body, and shoes."""

    kind: LowerKind
    fabric: Fabric
    shoes: Colour
    boots: bool


@dataclass(frozen=True)
class Identity:
    """A person."""

    body: Body
    head: Head
    upper: Upper
    lower: Lower
    bag: Bag
    bag_colour: Colour


def identity_of(seed: int, number: int) -> Identity:
    """Return identity `number` of the world `seed`; look-alikes are numbered consecutively in groups of four."""
    group, variant = divmod(number, LOOKALIKES)
    rng = np.random.default_rng([seed, 1, group])
    # Of the group: a look-alike with other clothes wears a dress with tights too, or neither.
    dressed = rng.random() < 0.18
    body = _body(rng)
    first = Identity(body, _head(rng), _upper(rng, dressed), _lower(rng, dressed), _choice(rng, _BAGS), _colour(rng))
    if variant == 0:
        return first
    # Drawn from a seed of its own, so that a look-alike leaves the others of its group as they are.
    other = np.random.default_rng([seed, 2, group, variant])
    # Until it shows, or two persons would look the same.
    while True:
        if variant == 1:
            changed = replace(first, head=_head(other))
            differs = _differ_heads(first.head, changed.head)
        elif variant == 2:
            changed = replace(first, upper=_upper(other, dressed))
            differs = _apart(first.upper.fabric.colour, changed.upper.fabric.colour)
        else:
            changed = replace(first, lower=_lower(other, dressed))
            differs = _apart(first.lower.fabric.colour, changed.lower.fabric.colour)
        if differs:
            return changed


_BAGS: tuple[Bag, ...] = ("none", "none", "none", "backpack", "shoulder", "handbag")
_Item = TypeVar("_Item")


def _choice(rng: np.random.Generator, items: tuple[_Item, ...]) -> _Item:
    return items[int(rng.integers(len(items)))]


def _colour(rng: np.random.Generator, palette: tuple[Colour, ...] = PALETTE) -> Colour:
    red, green, blue = (float(np.clip(tone + rng.normal(0, 5), 8, 246)) for tone in _choice(rng, palette))
    return red, green, blue


def _apart(one: Colour, other: Colour) -> bool:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) > 75**2


def _differ_heads(one: Head, other: Head) -> bool:
    hats = one.hat != other.hat or (one.hat != "none" and _apart(one.hat_colour, other.hat_colour))
    return hats or one.hair != other.hair or _apart(one.hair_colour, other.hair_colour)


def _body(rng: np.random.Generator) -> Body:
    build = float(np.clip(rng.normal(1.03, 0.11), 0.85, 1.32))
    shoulders, hips = float(rng.uniform(0.88, 1.12)), float(rng.uniform(0.9, 1.15))
    return Body(build, shoulders, hips, float(rng.uniform(0.97, 1.03)), _colour(rng, SKINS))


def _head(rng: np.random.Generator) -> Head:
    hair = _choice(rng, get_args(Hair))
    hats: tuple[Hat, ...] = ("none", "none", "none", "cap", "beanie")
    beard = hair in ("short", "bald") and rng.random() < 0.3
    return Head(hair, _colour(rng, HAIRS), _choice(rng, hats), _colour(rng), bool(rng.random() < 0.2), bool(beard))


def _fabric(rng: np.random.Generator, patterns: tuple[Pattern, ...], palette: tuple[Colour, ...] = PALETTE) -> Fabric:
    colour = _colour(rng, palette)
    second = _colour(rng)
    while not _apart(colour, second):
        second = _colour(rng)
    # A print has 15 cells, each a bit; 0 would be plain.
    return Fabric(_choice(rng, patterns), colour, second, float(rng.uniform(13, 24)), int(rng.integers(1, 1 << 15)))


def _upper(rng: np.random.Generator, dressed: bool) -> Upper:
    kinds: tuple[UpperKind, ...] = ("tshirt", "tshirt", "shirt", "hoodie", "jacket", "jacket", "coat", "vest")
    kind: UpperKind = "dress" if dressed else _choice(rng, kinds)
    patterns: tuple[Pattern, ...] = ("plain", "plain", "stripes", "checks", "print", "block", "dots", "pinstripes")
    if kind in ("jacket", "coat"):
        patterns = ("plain", "plain", "plain", "checks", "block")
    return Upper(kind, _fabric(rng, patterns), _colour(rng))


def _lower(rng: np.random.Generator, dressed: bool) -> Lower:
    kinds: tuple[LowerKind, ...] = ("trousers", "trousers", "jeans", "jeans", "wide", "shorts", "skirt")
    kind: LowerKind = "tights" if dressed else _choice(rng, kinds)
    patterns: tuple[Pattern, ...] = ("plain", "plain", "plain", "plain", "checks", "pinstripes")
    fabric = _fabric(rng, ("plain",), DENIMS) if kind == "jeans" else _fabric(rng, patterns)
    return Lower(kind, fabric, _colour(rng), bool(rng.random() < 0.25))
