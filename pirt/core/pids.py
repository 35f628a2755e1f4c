"""What a pid says besides who it is."""

JUNK_PID, DISTRACTOR_PID = -1, 0
"""Of images that no ranking counts, and of images that are nobody's match. Identities are above."""


def same_person(pid: int, other: int) -> bool:
    """Tell whether two pids are one identity; junk and distractors match nobody, not even each other."""
    return pid == other and pid > DISTRACTOR_PID
