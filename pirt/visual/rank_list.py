"""Rank lists as a picture (figure 5): each query, and beside it what one or more models find."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from PIL import Image, ImageDraw, ImageFont

from pirt.core.pids import JUNK_PID, same_person

Verdict = Literal["query", "match", "other", "unknown"]
Colour: TypeAlias = tuple[int, int, int]
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

FRAMES: dict[Verdict, Colour] = {
    "query": (40, 40, 40),
    "match": (0, 150, 60),
    "other": (210, 30, 30),
    "unknown": (140, 140, 140),
}
_BADGE: Colour = (25, 90, 200)
_INK: Colour = (30, 30, 30)
_FAINT: Colour = (225, 225, 225)
_PAPER: Colour = (255, 255, 255)

_MARGIN, _GAP, _WIDE_GAP, _FRAME = 16, 6, 22, 4
_BAR = 5
_TEXT, _TITLE = 13, 16


@dataclass(frozen=True)
class Shown:
    """One image of a list.

    `same_camera` marks one of the query's own camera, which the metrics leave out if it is a match; `confidences`, by
    part group, are drawn as bars.
    """

    image: Image.Image
    verdict: Verdict
    same_camera: bool = False
    caption: str = ""
    confidences: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class QueryRow:
    """A query and the lists found for it, one per model in the order of the titles, nearest first."""

    query: Shown
    lists: tuple[tuple[Shown, ...], ...]


def draw_rank_lists(
    titles: Sequence[str], rows: Sequence[QueryRow], image_size: tuple[int, int] = (128, 64)
) -> Image.Image:
    """Draw all rows below each other, the lists of one query side by side, and a legend.

    `image_size` is the height and width that every image is shown at.
    """
    font, title_font = ImageFont.load_default(_TEXT), ImageFont.load_default(_TITLE)
    # First, since a picture may be narrower than its legend.
    legend = _legend_of(rows)
    layout = _Layout(rows, image_size, sum(_legend_step(text, font) for _, text in legend))
    picture = Image.new("RGB", layout.size, _PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((layout.column(0, 0), _MARGIN), "query", _INK, title_font)
    for number, title in enumerate(titles):
        draw.text((layout.column(number + 1, 0), _MARGIN), title, _INK, title_font)
    for place, row in enumerate(rows):
        for number, shown in enumerate([(row.query,), *row.lists]):
            for rank, image in enumerate(shown):
                _draw_image(picture, draw, font, image, layout, (layout.column(number, rank), layout.row(place)))
    _draw_legend(draw, font, legend, layout.size[1] - _MARGIN - _TEXT)
    return picture


def draw_nearest(rows: Sequence[tuple[Shown, tuple[Shown, ...]]]) -> Image.Image:
    """Draw queries, each with what one model found for it."""
    return draw_rank_lists(
        ["nearest in the gallery, with distance"], [QueryRow(query, (found,)) for query, found in rows]
    )


def match_of(pid: int, other: int) -> bool | None:
    """Tell whether two images show one person; None where either is of nobody knows whom."""
    return None if JUNK_PID in (pid, other) else same_person(pid, other)


def verdict_of(match: bool | None) -> Verdict:
    """Return the frame of a gallery image; None where nobody knows whether it is a match."""
    return "unknown" if match is None else "match" if match else "other"


def _left_out(shown: Shown) -> bool:
    """Tell whether the metrics leave it out: the query's person by the query's own camera."""
    return shown.same_camera and shown.verdict == "match"


def _frame(shown: Shown) -> Colour:
    return _BADGE if _left_out(shown) else FRAMES[shown.verdict]


class _Layout:
    """Where everything stands, in pixels."""

    def __init__(self, rows: Sequence[QueryRow], image_size: tuple[int, int], legend_width: int) -> None:
        self.height, self.width = image_size
        shown = [image for row in rows for images in ((row.query,), *row.lists) for image in images]
        self.bars = max((len(image.confidences) for image in shown), default=0)
        self.has_captions = any(image.caption for image in shown)
        lists = max((len(row.lists) for row in rows), default=0)
        self._lengths = [1] + [max(len(row.lists[i]) for row in rows if i < len(row.lists)) for i in range(lists)]
        self._cell = self.width + 2 * _FRAME + _GAP
        text = (_TEXT + 4) if self.has_captions else 0
        bars = (self.bars * (_BAR + 2) + 2) if self.bars else 0
        self._row_height = self.height + 2 * _FRAME + bars + text + 2 * _GAP
        self._top = _MARGIN + _TITLE + 2 * _GAP
        legend = 2 * _GAP + _TEXT + _MARGIN
        width = self.column(len(self._lengths), 0) - _WIDE_GAP - _GAP + _MARGIN
        self.size = (
            max(width, legend_width + 2 * _MARGIN - _WIDE_GAP),
            self._top + len(rows) * self._row_height + legend,
        )

    def column(self, number: int, rank: int) -> int:
        """Left edge of an image in the query's column (0) or a list's (1, 2, …)."""
        before = sum(length * self._cell + _WIDE_GAP for length in self._lengths[:number])
        return _MARGIN + before + rank * self._cell

    def row(self, place: int) -> int:
        """Upper edge of a query's row."""
        return self._top + place * self._row_height


def _draw_image(
    picture: Image.Image,
    draw: ImageDraw.ImageDraw,
    font: Font,
    shown: Shown,
    layout: _Layout,
    corner: tuple[int, int],
) -> None:
    left, top = corner
    right, bottom = left + layout.width + 2 * _FRAME - 1, top + layout.height + 2 * _FRAME - 1
    draw.rectangle((left, top, right, bottom), fill=_frame(shown))
    # Stretched to one size, as stage 2 stretches them.
    small = shown.image.convert("RGB").resize((layout.width, layout.height), Image.Resampling.BICUBIC)
    picture.paste(small, (left + _FRAME, top + _FRAME))
    if shown.same_camera and not _left_out(shown):
        side = layout.width // 4
        # A corner only: the frame still says whether it is a match.
        draw.polygon([(right, top), (right - side, top), (right, top + side)], fill=_BADGE)
        draw.line((right - side, top, right, top + side), _PAPER, 1)
    y = bottom + 3
    for confidence in shown.confidences.values():
        draw.rectangle((left, y, right, y + _BAR - 1), fill=_FAINT)
        draw.rectangle((left, y, left + round(min(confidence, 1) * (right - left)), y + _BAR - 1), fill=_INK)
        y += _BAR + 2
    draw.text((left, y), _fitting(shown.caption, draw, font, right - left), _INK, font)


def _fitting(text: str, draw: ImageDraw.ImageDraw, font: Font, width: int) -> str:
    """Cut a text that is too long for the image."""
    kept = text
    while draw.textlength(kept, font) > width:
        # From the front: file names differ at their end.
        kept = "…" + kept[2:]
    return kept


def _legend_of(rows: Sequence[QueryRow]) -> list[tuple[Colour, str]]:
    """Return what the picture shows and the legend has to explain."""
    found = [image for row in rows for images in row.lists for image in images]
    verdicts = {image.verdict for image in found if not _left_out(image)}
    entries: list[tuple[Colour, str]] = [
        (FRAMES[verdict], text)
        for verdict, text in (("match", "same person"), ("other", "another person"), ("unknown", "identity unknown"))
        if verdict in verdicts
    ]
    if any(map(_left_out, found)):
        entries.append((_BADGE, "same person by the query's own camera, not counted"))
    if any(image.same_camera and not _left_out(image) for image in found):
        entries.append((_BADGE, "corner: the query's own camera"))
    if names := dict.fromkeys(name for image in found for name in image.confidences):
        entries.append((_INK, f"bars: confidence of {', '.join(names)}"))
    return entries


def _legend_step(text: str, font: Font) -> int:
    return _TEXT + 5 + round(font.getlength(text)) + _WIDE_GAP


def _draw_legend(draw: ImageDraw.ImageDraw, font: Font, entries: Sequence[tuple[Colour, str]], y: int) -> None:
    x = _MARGIN
    for colour, text in entries:
        draw.rectangle((x, y + 2, x + _TEXT - 1, y + _TEXT + 1), fill=colour)
        draw.text((x + _TEXT + 5, y), text, _INK, font)
        x += _legend_step(text, font)
