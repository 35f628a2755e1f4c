"""Any folder of images, without labels."""

from dataclasses import dataclass
from pathlib import Path

from pirt_stages.data.importing.layouts.found import FoundImage, Reading, files_in

UNKNOWN_PID, CAMERA = -1, 1
"""No query counts a gallery image of pid −1; the camera is that of galleries without camera labels."""


@dataclass(frozen=True)
class PlainLayout:
    """Every image at or below the root is a gallery image of nobody known."""

    name: str = "folder"
    title: str = "unlabelled images"
    signs: str = "image files, at any depth"

    def recognises(self, root: Path) -> bool:
        """Say whether there is an image at any depth."""
        return next(files_in(root, Reading()), None) is not None

    def read(self, root: Path) -> Reading:
        """List the images."""
        reading = Reading(remarks=[f"no labels: every image is one of the gallery, of pid {UNKNOWN_PID}"])
        for relative, _ in files_in(root, reading):
            reading.images.append(FoundImage(str(relative), "gallery", UNKNOWN_PID, CAMERA))
        return reading


FOLDER = PlainLayout()
