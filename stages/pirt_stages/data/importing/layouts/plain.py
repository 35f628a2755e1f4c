"""Any folder of images, without labels."""

from dataclasses import dataclass
from pathlib import Path

from pirt.core.manifest import Split
from pirt_stages.data.importing.layouts.found import CLUTTER, FoundImage, Reading, files_in, has_image

UNKNOWN_PID = -1
"""No query counts a gallery image of pid −1."""
_CAMERAS: dict[Split, int] = {"train": 0, "query": 0, "gallery": 1}
"""Those of data sets without camera labels."""


@dataclass(frozen=True)
class PlainLayout:
    """Nobody in the images at or below the root is known: all of them are queries, or gallery images."""

    name: str = "folder"
    title: str = "unlabelled images"
    signs: str = "image files, at any depth"
    split: Split = "gallery"

    def recognises(self, root: Path) -> bool:
        """Say whether there is an image at any depth."""
        return has_image(root)

    def nearly(self, root: Path) -> str | None:
        """Say which files there are instead of images."""
        reading = Reading()
        any(True for _ in files_in(root, reading))
        return f"no image{reading.odd()}" if set(reading.passed_over) - {CLUTTER} else None

    def read(self, root: Path) -> Reading:
        """List the images."""
        reading = Reading(remarks=[f"no labels: every image is one of the {self.split}, of pid {UNKNOWN_PID}"])
        for relative, _ in files_in(root, reading):
            reading.images.append(FoundImage(str(relative), self.split, UNKNOWN_PID, _CAMERAS[self.split]))
        return reading


FOLDER = PlainLayout()
