"""A person as tubes, painted from far to near, and what of its 17 keypoints can be seen."""

from dataclasses import dataclass
from enum import IntEnum
from math import pi, sin

from pirt.core.keypoints import COCO_KEYPOINTS
from pirt_stages.data.pedestrians.canvas import Brush, Outline, Surface, plain
from pirt_stages.data.pedestrians.garments import darker, panelled, shaded, upper_surface
from pirt_stages.data.pedestrians.head import FACE_AZIMUTHS, face_point, paint_back_of_head, paint_head
from pirt_stages.data.pedestrians.identity import Identity
from pirt_stages.data.pedestrians.parts import Part
from pirt_stages.data.pedestrians.skeleton import Gait, Joints, View, walking_joints

_ARMS = {"left": (Part.LEFT_UPPER_ARM, Part.LEFT_FOREARM), "right": (Part.RIGHT_UPPER_ARM, Part.RIGHT_FOREARM)}
_LEGS = {"left": (Part.LEFT_THIGH, Part.LEFT_SHIN), "right": (Part.RIGHT_THIGH, Part.RIGHT_SHIN)}
# Lengths in segments of the arm: 1 ends at the elbow, 2 at the wrist.
_SLEEVES = {"tshirt": 0.55, "vest": 0.0, "dress": 0.35, "shirt": 1.9, "hoodie": 1.95, "jacket": 1.95, "coat": 1.95}
_HEMS = {"tshirt": 0.06, "vest": 0.05, "shirt": 0.07, "hoodie": 0.07, "jacket": 0.065, "coat": -0.13, "dress": -0.16}
"""Height of the hem below the hip joints is minus this."""


@dataclass(frozen=True)
class Keypoint:
    """Where a keypoint is on the canvas (x, y in pixels from the top left corner) and whether the body hides it."""

    x: float
    y: float
    hidden: bool


class Figure:
    """Paints one identity in one pose."""

    def __init__(self, identity: Identity, gait: Gait, view: View, brush: Brush) -> None:
        self.identity, self.gait, self.view, self.brush = identity, gait, view, brush
        self.joints: Joints = walking_joints(identity.body, gait)
        self.pixel = {name: view.project(point) for name, point in self.joints.items()}
        self.cloth = identity.upper.fabric.surface()

    def paint(self) -> None:
        """Paint every part, the farthest first."""
        # Painted over each other: what is nearer comes later and owns the pixels.
        away = self.view.facing(0) < 0
        near, far = self._arms_by_depth()
        head = (self.identity, self.view, self.gait, self.joints["head"], self.brush)
        if not away:
            self._backpack()
            paint_back_of_head(*head)
        for side in far:
            self._arm(side)
        for side in sorted(_LEGS, key=lambda side: self._depth(f"{side}_knee", f"{side}_ankle")):
            self._leg(side)
        self._skirt()
        self._neck()
        self._torso()
        self._shoulder_bag()
        for side in near:
            self._arm(side)
        paint_head(*head)
        if away:
            self._backpack()
            paint_back_of_head(*head)
        self._handbag()

    def keypoints(self) -> list[Keypoint]:
        """Return the 17 keypoints in COCO order; call after `paint`."""
        found = []
        for name in COCO_KEYPOINTS:
            # Near and far side of the head are one part, so its turn tells whether a point of the face shows.
            if name in FACE_AZIMUTHS:
                point = face_point(name, self.joints["head"], self.gait)
                turned = self.view.facing(FACE_AZIMUTHS[name] + self.gait.head_turn) < (-0.25 if "ear" in name else 0.0)
            else:
                point, turned = self.joints[name], self._turned_away(name)
            x, y = self.view.project(point)
            found.append(Keypoint(x, y, turned or self._covered(name, x, y)))
        return found

    def _turned_away(self, name: str) -> bool:
        # The torso hides no shoulder or hip (`_shown_through`), so it is their side that tells.
        azimuth = pi / 2 if name.startswith("left") else -pi / 2
        return name.endswith(("shoulder", "hip")) and self.view.facing(azimuth) < -0.75

    def _covered(self, name: str, x: float, y: float) -> bool:
        canvas = self.brush.canvas
        if not (0 <= x < canvas.width and 0 <= y < canvas.height):
            return True
        owner = int(canvas.owner[int(y), int(x)])
        return owner != 0 and owner not in _shown_through(name)

    def _depth(self, *names: str) -> float:
        return sum(self.view.depth(self.joints[name]) for name in names) / len(names)

    def _arms_by_depth(self) -> tuple[list[str], list[str]]:
        depths = {side: self._depth(f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist") for side in _ARMS}
        order = sorted(_ARMS, key=lambda side: depths[side])
        # An arm counts as behind the torso only when it is clearly farther.
        return [s for s in order if depths[s] > -0.045], [s for s in order if depths[s] <= -0.045]

    def _limb(
        self, part: int, start: str, end: str, radii: tuple[float, float], surface: Surface, stop: float = 1.0
    ) -> None:
        (x0, y0), (x1, y1) = self.pixel[start], self.pixel[end]
        tip = (x0 + (x1 - x0) * stop, y0 + (y1 - y0) * stop)
        profile = [
            (0.0, radii[0] * self.view.scale),
            (1.0, (radii[0] + (radii[1] - radii[0]) * stop) * self.view.scale),
        ]
        # The farther of two legs or arms stands in the other's shadow.
        light = 1 + 4.5 * min(0.0, self._depth(start, end))
        self.brush.tube(part, (x0, y0), tip, profile, shaded(surface, light), self.view.yaw)

    def _arm(self, side: str) -> None:
        upper, fore = _ARMS[side]
        thick = 0.5 + 0.5 * self.identity.body.build
        skin = plain(self.identity.body.skin)
        sleeve = _SLEEVES[self.identity.upper.kind]
        loose = 0.008 if self.identity.upper.kind in ("hoodie", "jacket", "coat") else 0.004
        ends = ((upper, "shoulder", "elbow", (0.036, 0.027)), (fore, "elbow", "wrist", (0.026, 0.018)))
        self._limb(fore, f"{side}_wrist", f"{side}_hand", (0.018 * thick, 0.02), skin)
        for order, (part, start, end, radii) in enumerate(ends):
            bare = (radii[0] * thick, radii[1] * thick)
            self._limb(part, f"{side}_{start}", f"{side}_{end}", bare, skin)
            if (covered := min(1.0, sleeve - order)) > 0:
                wide = (bare[0] + loose, bare[1] + loose)
                self._limb(part, f"{side}_{start}", f"{side}_{end}", wide, self.cloth, covered)

    def _leg(self, side: str) -> None:
        thigh, shin = _LEGS[side]
        lower, build = self.identity.lower, 0.4 + 0.6 * self.identity.body.build
        skin, cloth = plain(self.identity.body.skin), lower.fabric.surface()
        ends = ((thigh, "hip", "knee", (0.056, 0.043)), (shin, "knee", "ankle", (0.042, 0.024)))
        cover = {"shorts": 0.85, "skirt": 0.0}.get(lower.kind, 2.0)
        loose = {"wide": (0.004, 0.02), "trousers": (0.003, 0.009), "shorts": (0.008, 0.012)}.get(
            lower.kind, (0.0, 0.002)
        )
        self._foot(side, shin)
        for order, (part, start, end, radii) in enumerate(ends):
            bare = (radii[0] * build, radii[1] * build)
            self._limb(part, f"{side}_{start}", f"{side}_{end}", bare, skin)
            if (covered := min(1.0, cover - order)) > 0:
                wide = (bare[0] + loose[0], bare[1] + loose[1])
                self._limb(part, f"{side}_{start}", f"{side}_{end}", wide, cloth, covered)
        if lower.boots:
            (x0, y0), (x1, y1) = self.pixel[f"{side}_ankle"], self.pixel[f"{side}_knee"]
            shaft = (x0 + (x1 - x0) * 0.4, y0 + (y1 - y0) * 0.4)
            profile = [(0.0, 0.028 * self.view.scale), (1.0, 0.035 * self.view.scale)]
            self.brush.tube(shin, (x0, y0), shaft, profile, plain(lower.shoes), self.view.yaw)

    def _foot(self, side: str, part: int) -> None:
        shoe = plain(self.identity.lower.shoes)
        self._limb(part, f"{side}_heel", f"{side}_toe", (0.026, 0.019), shoe)
        self._limb(part, f"{side}_ankle", f"{side}_heel", (0.024, 0.026), shoe)

    def _outline(self, *sections: tuple[float, float, float]) -> Outline:
        """Turn sections (place, half-width, half-depth) into a profile of this view."""
        return [(place, self.view.half_width(across, deep)) for place, across, deep in sections]

    def _torso(self) -> None:
        body, kind = self.identity.body, self.identity.upper.kind
        loose = {"coat": 1.12, "jacket": 1.09, "hoodie": 1.1}.get(kind, 1.0)
        build = body.build * loose
        pelvis, neck = self.joints["pelvis"], self.joints["neck"]
        top, bottom = neck[1] + 0.012, pelvis[1] - 0.0 + min(0.0, _HEMS[kind]) - 0.06
        length = top - bottom
        # Coats and dresses reach over the thighs, and widen with the stride.
        spread = 0.0 if bottom > pelvis[1] - 0.1 else 0.02 + 0.35 * self._leg_spread()
        shoulder, waist = 0.118 * body.shoulders * loose, (0.088 if kind != "dress" else 0.08) * build
        hip = max(0.102 * body.hips * build, waist)
        chest = max(0.106 * body.shoulders * loose, waist)
        profile = self._outline(
            (0.0, 0.045, 0.045),
            (0.015 / length, 0.075, 0.06),
            (0.04 / length, shoulder, 0.066 * build),
            (0.13 / length, chest, 0.084 * build),
            (0.22 / length, waist, 0.076 * build),
            (0.34 / length, hip, 0.082 * build),
            (1.0, hip + spread, 0.085 * build + spread),
        )
        start, end = self.view.project((0.0, top, 0.0)), self.view.project((0.0, bottom, 0.0))
        self.brush.tube(
            Part.TORSO,
            start,
            end,
            profile,
            upper_surface(self.identity.upper, body.skin),
            self.view.yaw,
            round_ends=False,
        )
        if kind in ("hoodie", "shirt", "coat"):
            self._collar(kind)

    def _leg_spread(self) -> float:
        left, right = self.joints["left_knee"], self.joints["right_knee"]
        return abs(left[2] - right[2]) / 2 * abs(sin(self.view.yaw)) + 0.01

    def _collar(self, kind: str) -> None:
        x, y, z = self.joints["neck"]
        behind = -0.035 if kind == "hoodie" else 0.0
        size = 0.062 if kind == "hoodie" else 0.045
        left, right = (
            self.view.project((x + 0.02, y + 0.012, z + behind)),
            self.view.project((x - 0.02, y + 0.012, z + behind)),
        )
        tone = plain(darker(self.identity.upper.fabric.colour, 0.82))
        radius = size * self.view.scale * 0.62
        self.brush.tube(Part.TORSO, left, right, [(0.0, radius), (1.0, radius)], tone, self.view.yaw)

    def _neck(self) -> None:
        x, y, z = self.joints["neck"]
        start, end = self.view.project((x, y + 0.05, z + 0.008)), self.view.project((x, y - 0.01, z))
        radius = 0.032 * self.view.scale * (0.6 + 0.4 * self.identity.body.build)
        skin = plain(darker(self.identity.body.skin, 0.85))
        self.brush.tube(Part.NECK, start, end, [(0.0, radius), (1.0, radius * 1.15)], skin, self.view.yaw)

    def _skirt(self) -> None:
        lower = self.identity.lower
        if lower.kind != "skirt":
            return
        x, y, z = self.joints["pelvis"]
        # A fact of the person, so it follows from the cloth's number instead of another draw.
        hem = y - (0.2 if lower.fabric.motif % 2 else 0.3)
        hip = 0.092 * self.identity.body.hips * self.identity.body.build
        flare = hip + 0.025 + 0.75 * self._leg_spread()
        start, end = self.view.project((x, y + 0.06, z)), self.view.project((x, hem, z))
        profile = self._outline((0.0, hip * 0.92, 0.07), (0.3, hip, 0.085), (1.0, flare * 1.1, flare))
        self.brush.tube(Part.SKIRT, start, end, profile, lower.fabric.surface(), self.view.yaw, round_ends=False)

    def _backpack(self) -> None:
        if self.identity.bag != "backpack":
            return
        _, neck, _ = self.joints["neck"]
        scale, colour = self.view.scale, self.identity.bag_colour
        start, end = self.view.project((0.0, neck - 0.055, -0.1)), self.view.project((0.0, neck - 0.25, -0.11))
        width = self.view.half_width(0.082, 0.05)
        profile = [(0.0, width * 0.85), (0.5, width), (1.0, width)]
        self.brush.tube(Part.BAG, start, end, profile, panelled(colour), self.view.yaw, round_ends=False)
        lid = [(0.0, width * 0.8), (1.0, width * 0.8)]
        self.brush.tube(Part.BAG, start, (start[0], start[1] + 0.02 * scale), lid, plain(colour), self.view.yaw)

    def _shoulder_bag(self) -> None:
        if self.identity.bag == "backpack" and self.view.facing(0) > 0:
            for sign in (-1.0, 1.0):
                self._strap((sign * 0.062, -0.0, 0.06), (sign * 0.075, -0.2, 0.085))
        if self.identity.bag != "shoulder":
            return
        # Only the strap on the side that is seen is drawn.
        front = 1.0 if self.view.facing(0) > 0 else -1.0
        self._strap((-0.07, -0.005, 0.05 * front), (0.1, -0.33, 0.07 * front))
        # The bag hangs at the left hip, which cannot be seen from the right.
        if self.view.facing(pi / 2) > -0.6:
            _, neck, _ = self.joints["neck"]
            start, end = self.view.project((0.12, neck - 0.33, 0.02)), self.view.project((0.12, neck - 0.45, 0.02))
            width = self.view.half_width(0.045, 0.075)
            surface = panelled(self.identity.bag_colour)
            self.brush.tube(
                Part.BAG, start, end, [(0.0, width), (1.0, width)], surface, self.view.yaw, round_ends=False
            )

    def _strap(self, top: tuple[float, float, float], bottom: tuple[float, float, float]) -> None:
        _, neck, _ = self.joints["neck"]
        start = self.view.project((top[0], neck + top[1], top[2]))
        end = self.view.project((bottom[0], neck + bottom[1], bottom[2]))
        radius = 0.0095 * self.view.scale
        colour = plain(self.identity.bag_colour)
        self.brush.tube(Part.BAG, start, end, [(0.0, radius), (1.0, radius)], colour, self.view.yaw)

    def _handbag(self) -> None:
        # Painted last of all, so it is left out where the hand is behind the body.
        if self.identity.bag != "handbag" or self._depth("right_hand") < -0.02:
            return
        x, y = self.pixel["right_hand"]
        scale, width = self.view.scale, self.view.half_width(0.03, 0.065)
        for side in (-0.6, 0.6):
            strap = [(0.0, 0.006 * scale), (1.0, 0.006 * scale)]
            self.brush.tube(
                Part.BAG, (x, y), (x + side * width, y + 0.06 * scale), strap, plain(self.identity.bag_colour), 0
            )
        start, end = (x, y + 0.055 * scale), (x, y + 0.15 * scale)
        profile = [(0.0, width * 0.85), (1.0, width)]
        self.brush.tube(
            Part.BAG, start, end, profile, panelled(self.identity.bag_colour), self.view.yaw, round_ends=False
        )


def _shown_through(name: str) -> frozenset[IntEnum]:
    """Return the parts that may lie on top of a keypoint without hiding it: its own limb and its clothes."""
    side, _, joint = name.partition("_")
    if joint in ("shoulder", "elbow", "wrist"):
        arm = frozenset(_ARMS[side]) | {Part.BAG}
        return arm | {Part.TORSO, Part.HAIR, Part.NECK} if joint == "shoulder" else arm
    if joint in ("hip", "knee", "ankle"):
        leg = frozenset(_LEGS[side]) | {Part.SKIRT, Part.TORSO}
        return leg | {Part.BAG, *_LEGS["left"], *_LEGS["right"]} if joint == "hip" else leg
    return frozenset({Part.HEAD})
