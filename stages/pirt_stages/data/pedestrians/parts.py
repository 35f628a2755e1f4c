"""Numbers of a figure's parts in its canvas."""

from enum import IntEnum


class Part(IntEnum):
    """Which part owns a pixel; 0 is none."""

    HEAD = 1
    HAIR = 2
    NECK = 3
    TORSO = 4
    SKIRT = 5
    BAG = 6
    LEFT_UPPER_ARM = 7
    LEFT_FOREARM = 8
    RIGHT_UPPER_ARM = 9
    RIGHT_FOREARM = 10
    LEFT_THIGH = 11
    LEFT_SHIN = 12
    RIGHT_THIGH = 13
    RIGHT_SHIN = 14
