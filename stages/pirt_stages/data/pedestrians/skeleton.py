"""Bodies as joints in three dimensions, walking, and their view through a camera.

Person's frame: x to the person's left, y up, z forward, in body heights. Image frame: pixels, y down.
"""

from dataclasses import dataclass
from math import cos, hypot, pi, sin
from typing import Literal

Point = tuple[float, float, float]
Joints = dict[str, Point]
ArmPose = Literal["swing", "phone", "pockets", "carry"]
ARM_POSES: tuple[ArmPose, ...] = ("swing", "swing", "swing", "phone", "pockets", "carry")


@dataclass(frozen=True)
class Body:
    """Proportions: factors on the average adult."""

    build: float
    shoulders: float
    hips: float
    legs: float
    skin: tuple[float, float, float]


@dataclass(frozen=True)
class Gait:
    """One moment of a walk; angles in radians."""

    phase: float
    stride: float
    arm_swing: float
    arms: ArmPose
    head_turn: float


@dataclass(frozen=True)
class View:
    """Orthographic camera: yaw 0 sees the front, π the back, +π/2 a person who faces right."""

    yaw: float
    pitch: float
    scale: float
    centre: float
    ground: float

    def project(self, point: Point) -> tuple[float, float]:
        """Return the image position (x, y) of a point in the person's frame."""
        x, y, _ = point
        # Python's own sine and cosine: the last bits of NumPy's vectorised ones depend on the processor.
        across = x * cos(self.yaw) + point[2] * sin(self.yaw)
        return self.centre + across * self.scale, self.ground - (y - self.depth(point) * sin(self.pitch)) * self.scale

    def depth(self, point: Point) -> float:
        """Return how much nearer to the camera than the body's axis the point is."""
        return point[2] * cos(self.yaw) - point[0] * sin(self.yaw)

    def facing(self, azimuth: float) -> float:
        """Return the cosine between the camera and the body surface at `azimuth` (0 front, +π/2 left)."""
        return cos(azimuth + self.yaw)

    def half_width(self, across: float, deep: float) -> float:
        """Return the pixels from axis to outline of an elliptic section with these half-axes."""
        return self.scale * hypot(across * cos(self.yaw), deep * sin(self.yaw))


def walking_joints(body: Body, gait: Gait) -> Joints:
    """Place every joint of `body` at one moment of its walk, the lower foot on the ground."""
    hip_height = 0.505 + 0.03 * (body.legs - 1) * 5
    neck = hip_height + 0.325
    joints: Joints = {"pelvis": (0.0, hip_height, 0.0), "neck": (0.0, neck, 0.0), "head": (0.0, 0.928, 0.012)}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        _place_leg(joints, side, sign, body, gait, hip_height)
        _place_arm(joints, side, sign, body, gait, neck)
    lift = min(joints[f"{side}_{end}"][1] for side in ("left", "right") for end in ("heel", "toe"))
    return {name: (x, y - lift, z) for name, (x, y, z) in joints.items()}


def _swing(start: Point, length: float, angle: float, outward: float = 0.0) -> Point:
    return start[0] + length * sin(outward), start[1] - length * cos(angle), start[2] + length * sin(angle)


def _place_leg(joints: Joints, side: str, sign: float, body: Body, gait: Gait, hip_height: float) -> None:
    t = gait.phase + (0.0 if sign > 0 else pi)
    thigh = gait.stride * sin(t) + 0.04
    bend = 0.08 + 1.5 * gait.stride * max(0.0, cos(t + 0.3)) ** 1.5
    hip = (sign * 0.047 * body.hips, hip_height, 0.0)
    knee = _swing(hip, 0.238 * body.legs, thigh, -sign * 0.02)
    ankle = _swing(knee, 0.228 * body.legs, thigh - bend, -sign * 0.02)
    pitch = -0.5 * max(0.0, bend - 0.3)
    heel = (ankle[0], ankle[1] - 0.03, ankle[2] - 0.02)
    toe = (ankle[0] + sign * 0.012, ankle[1] - 0.033 + 0.07 * sin(pitch), ankle[2] + 0.082)
    joints |= {f"{side}_hip": hip, f"{side}_knee": knee, f"{side}_ankle": ankle}
    joints |= {f"{side}_heel": heel, f"{side}_toe": toe}


def _place_arm(joints: Joints, side: str, sign: float, body: Body, gait: Gait, neck: float) -> None:
    t = gait.phase + (pi if sign > 0 else 0.0)
    upper, bend, outward = gait.arm_swing * sin(t), 0.22 + 0.5 * gait.arm_swing * max(0.0, sin(t)), 0.12
    if gait.arms == "phone" and sign < 0:
        upper, bend, outward = 0.55, 2.05, 0.05
    elif gait.arms == "pockets":
        upper, bend, outward = -0.3, 0.75, 0.3
    elif gait.arms == "carry" and sign > 0:
        upper, bend, outward = 0.1, 1.25, 0.2
    shoulder = (sign * 0.102 * body.shoulders, neck - 0.02, 0.0)
    elbow = _swing(shoulder, 0.165, upper, sign * outward)
    inward = -0.22 if gait.arms == "pockets" else 0.02
    wrist = _swing(elbow, 0.14, upper + bend, sign * inward)
    joints |= {f"{side}_shoulder": shoulder, f"{side}_elbow": elbow, f"{side}_wrist": wrist}
    joints[f"{side}_hand"] = _swing(wrist, 0.04, upper + bend)
