"""Contact sheet: identities × cameras with the truth about keypoints, to be looked at."""

import io
from collections.abc import Iterable

from PIL import Image, ImageDraw

from pirt.core.keypoints import SKELETON
from pirt_stages.data.pedestrians.plan import TRAIN, PlannedImage
from pirt_stages.data.pedestrians.shot import HEIGHT, WIDTH, Picture

ROWS, OCCLUDED = 12, 3
_ZOOM, _GAP, _MARGIN = 2, 6, 26
_SEEN, _COVERED = (60, 230, 90), (255, 70, 60)


class ContactSheet:
    """Collects the first picture of each identity and camera, and some occluded ones; draws them as a table."""

    def __init__(self, entries: Iterable[PlannedImage]) -> None:
        people = [entry for entry in entries if entry.path.startswith(TRAIN)]
        self.cameras = sorted({entry.shot.camera for entry in people})
        self.identities = sorted({entry.shot.identity for entry in people})[:ROWS]
        self.cells: dict[tuple[int, int], Picture] = {}
        self.occluded: list[Picture] = []

    def add(self, entry: PlannedImage, picture: Picture) -> None:
        """Keep `picture` if the sheet has a place for it."""
        if entry.shot.occluded and len(self.occluded) < OCCLUDED * len(self.identities):
            self.occluded.append(picture)
        elif entry.shot.identity in self.identities and not entry.shot.occluded:
            self.cells.setdefault((entry.shot.identity, entry.shot.camera), picture)

    def draw(self) -> Image.Image:
        """Draw the sheet: one row per identity, one column per camera, occluded pictures of anybody at the right."""
        columns = len(self.cameras) + OCCLUDED
        step_x, step_y = WIDTH * _ZOOM + _GAP, HEIGHT * _ZOOM + _GAP
        size = (_MARGIN * 2 + columns * step_x, _MARGIN + len(self.identities) * step_y)
        image = Image.new("RGB", size, (250, 250, 250))
        draw = ImageDraw.Draw(image)
        for column in range(columns):
            title = f"camera {self.cameras[column] + 1}" if column < len(self.cameras) else "occluded"
            draw.text((_MARGIN + column * step_x, 6), title, fill=(40, 40, 40))
        for row, identity in enumerate(self.identities):
            top = _MARGIN + row * step_y
            draw.text((4, top), f"{identity + 1}", fill=(40, 40, 40))
            for column in range(columns):
                if (picture := self._at(row, column)) is not None:
                    image.paste(_marked(picture), (_MARGIN + column * step_x + (column >= len(self.cameras)) * 8, top))
        return image

    def _at(self, row: int, column: int) -> Picture | None:
        if column < len(self.cameras):
            return self.cells.get((self.identities[row], self.cameras[column]))
        place = row * OCCLUDED + column - len(self.cameras)
        return self.occluded[place] if place < len(self.occluded) else None


def _marked(picture: Picture) -> Image.Image:
    size = (WIDTH * _ZOOM, HEIGHT * _ZOOM)
    image = Image.open(io.BytesIO(picture.jpeg)).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    at = [((x + 0.5) * _ZOOM, (y + 0.5) * _ZOOM, seen) for x, y, seen in picture.keypoints]
    for start, end in SKELETON:
        if at[start][2] == at[end][2] == 2:
            draw.line((*at[start][:2], *at[end][:2]), fill=(250, 220, 90), width=1)
    for x, y, seen in at:
        if seen:
            draw.ellipse(
                (x - 2, y - 2, x + 2, y + 2),
                fill=_SEEN if seen == 2 else None,
                outline=_SEEN if seen == 2 else _COVERED,
            )
    return image
