"""The recipe of `pirt-pose show`: heatmaps, part masks and scores over the images, for a person to judge."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from pirt.core.errors import DataError, ParamsError
from pirt.core.files import written_whole
from pirt.core.images import read_image
from pirt.core.manifest import ImageRow, Manifest
from pirt.heatmaps.reader import HeatmapStore
from pirt.models.part_groups import NamedGroups
from pirt.visual.style import BLACK, part_colours

_DPI = 110
# In inches.
_PANEL_HEIGHT = 2.0
_GAP = 0.15
_HEADER = 0.65
_STRIP_HEIGHT = _HEADER + _PANEL_HEIGHT + 0.3
_TITLE = 0.25
_TITLE_WIDTH = 1.05
_NAMES = 0.6
_BARS = 1.6
_SHEET_COLUMNS = 2


@dataclass(frozen=True)
class ShownImage:
    """One image with what the store holds of it."""

    row: ImageRow
    image: Image.Image
    heatmaps: NDArray[np.float32]
    """K×Hm×Wm."""
    scores: NDArray[np.float32]
    tau: float
    names: tuple[str, ...]
    groups: NamedGroups

    @property
    def shape(self) -> float:
        """Width over height of the heatmaps; the image is stretched to it, as stage 2 does."""
        return self.heatmaps.shape[2] / self.heatmaps.shape[1]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top, in cells."""
        return 0.0, float(self.heatmaps.shape[2]), float(self.heatmaps.shape[1]), 0.0

    @property
    def group_colours(self) -> list[str]:
        """A colour for each part group."""
        return part_colours(len(self.groups))

    @property
    def keypoint_colours(self) -> list[str]:
        """Each keypoint's colour, that of its first group."""
        coloured = list(zip(self.groups, self.group_colours, strict=True))
        return [
            next((colour for (_, group), colour in coloured if keypoint in group), BLACK)
            for keypoint in range(len(self.names))
        ]


def show_image(store: HeatmapStore, manifest: Manifest, groups: NamedGroups, key: str, out: Path) -> None:
    """Draw one image large, with every keypoint's heatmap, to the PNG `out`."""
    store.require_images(manifest)
    _refuse_image_of(manifest, out)
    if key not in manifest.keys:
        raise DataError(f"no image has the key {key!r}; keys look like {manifest.keys[0]!r}")
    (view,) = _views(store, manifest, groups, [manifest.rows[manifest.keys.index(key)]])
    _save(_draw_image(view), out)


def show_sheet(
    store: HeatmapStore,
    manifest: Manifest,
    groups: NamedGroups,
    count: int,
    split: str | None,
    weakest: bool,
    out: Path,
) -> None:
    """Draw `count` images, spread evenly over the manifest or those of the lowest scores, to the PNG `out`."""
    store.require_images(manifest)
    _refuse_image_of(manifest, out)
    places = store.indices_of(manifest.rows).tolist()
    rows = [
        (place, image)
        for place, image in zip(places, manifest.rows, strict=True)
        if place not in store.skipped_rows and (split is None or image.split == split)
    ]
    if not rows:
        raise ParamsError(f"the store has no readable image of split {split!r}")
    if weakest:
        rows.sort(key=lambda row: float(store.scores[row[0]].mean()))
        chosen = rows[:count]
    else:
        chosen = [rows[place] for place in np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)]
    _save(_draw_sheet(list(_views(store, manifest, groups, [image for _, image in chosen]))), out)


def _refuse_image_of(manifest: Manifest, out: Path) -> None:
    """Raise DataError where the picture would replace an image that it shows."""
    root, path = manifest.root.resolve(), out.resolve()
    if path.is_relative_to(root) and path.relative_to(root).as_posix() in {image.path for image in manifest.rows}:
        raise DataError(f"--out {out} is an image of the manifest and would be replaced; name another file")


def _views(
    store: HeatmapStore, manifest: Manifest, groups: NamedGroups, images: Sequence[ImageRow]
) -> Iterator[ShownImage]:
    reasons = {image.key: image.reason for image in store.skipped}
    for row, image in zip(store.indices_of(images).tolist(), images, strict=True):
        if row in store.skipped_rows:
            raise DataError(f"{image.key!r} was skipped: {reasons[store.keys[row]]}")
        yield ShownImage(
            image,
            read_image(manifest.image_path(image)),
            store.read([row])[0],
            store.scores[row],
            store.attributes.tau,
            store.attributes.keypoints,
            groups,
        )


class _Page:
    """A figure with panels placed in inches from the upper left, since matplotlib takes seconds to find a layout."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), dpi=_DPI)

    def panel(self, x: float, y: float, width: float) -> Axes:
        """Return a panel of the usual height."""
        place = (x, self.height - y - _PANEL_HEIGHT, width, _PANEL_HEIGHT)
        scale = (self.width, self.height, self.width, self.height)
        left, bottom, wide, high = (inches / whole for inches, whole in zip(place, scale, strict=True))
        return self.figure.add_axes((left, bottom, wide, high))

    def text(self, x: float, y: float, text: str) -> None:
        """Write one line, `x` its left and `y` its top."""
        # A key may have dollar signs, between which matplotlib would read formulas.
        self.figure.text(x / self.width, 1 - y / self.height, text, fontsize=9, va="top", parse_math=False)


def _draw_image(view: ShownImage) -> Figure:
    width = _PANEL_HEIGHT * view.shape
    step = max(width + _GAP, _TITLE_WIDTH)
    page = _Page(max(9 * step, _strip_width(view)) + _GAP, _STRIP_HEIGHT + 2 * (_PANEL_HEIGHT + _TITLE) + _GAP)
    _draw_strip(page, view, _GAP, 0)
    for keypoint, name in enumerate(view.names):
        line, column = divmod(keypoint, 9)
        panel = page.panel(_GAP + column * step, _STRIP_HEIGHT + _TITLE + line * (_PANEL_HEIGHT + _TITLE), width)
        _over_image(panel, view, view.heatmaps[keypoint])
        title = f"{_short(name)} {view.scores[keypoint]:.2f}"
        panel.set_title(title, fontsize=7, color=view.keypoint_colours[keypoint], loc="left")
    return page.figure


def _draw_sheet(views: Sequence[ShownImage]) -> Figure:
    columns = min(_SHEET_COLUMNS, len(views))
    width = _strip_width(views[0]) + 2 * _GAP
    page = _Page(columns * width, -(-len(views) // columns) * _STRIP_HEIGHT + _GAP)
    for place, view in enumerate(views):
        line, column = divmod(place, columns)
        _draw_strip(page, view, _GAP + column * width, line * _STRIP_HEIGHT)
    return page.figure


def _strip_width(view: ShownImage) -> float:
    return (2 + len(view.groups)) * (_PANEL_HEIGHT * view.shape + _GAP) + _NAMES + _BARS


def _draw_strip(page: _Page, view: ShownImage, x: float, y: float) -> None:
    """Draw the image, its heatmaps at once, the part masks and the scores, side by side."""
    width = _PANEL_HEIGHT * view.shape
    page.text(x, y + 0.1, f"{view.row.key}   pid {view.row.pid}, camera {view.row.camid}")
    places = [x + n * (width + _GAP) for n in range(3 + len(view.groups))]
    whole, human, *parts = (page.panel(place, y + _HEADER, width) for place in places[:-1])
    _draw_picture(whole, view)
    whole.set_title(f"{view.image.width}×{view.image.height}", fontsize=8)
    _over_image(human, view, view.heatmaps.max(axis=0))
    human.set_title("heatmaps", fontsize=8)
    for panel, (name, group), colour in zip(parts, view.groups, view.group_colours, strict=True):
        mask = (view.heatmaps[list(group)] > np.float32(view.tau)).any(axis=0)
        _draw_picture(panel, view, grey=True)
        tint = ListedColormap(["#00000000", colour])
        panel.imshow(mask, cmap=tint, vmin=0, vmax=1, alpha=0.6, extent=view.extent, interpolation="nearest")
        panel.set_title(f"{name} {view.scores[list(group)].max():.2f}\n{mask.mean():.0%} > τ", fontsize=8, color=colour)
    _draw_scores(page.panel(places[-1] + _NAMES, y + _HEADER, _BARS), view)


def _draw_scores(panel: Axes, view: ShownImage) -> None:
    places = np.arange(len(view.scores))
    panel.barh(places, view.scores, color=view.keypoint_colours)
    panel.set_yticks(places, [_short(name) for name in view.names], fontsize=5)
    panel.set_xticks([0, 1], ["0", "1"], fontsize=6)
    panel.set_xlim(0, 1)
    panel.invert_yaxis()
    panel.set_title("scores", fontsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _over_image(panel: Axes, view: ShownImage, heatmap: NDArray[np.float32]) -> None:
    _draw_picture(panel, view, grey=True)
    panel.imshow(heatmap, extent=view.extent, cmap="inferno", vmin=0, vmax=1, alpha=0.65, interpolation="bilinear")


def _draw_picture(panel: Axes, view: ShownImage, grey: bool = False) -> None:
    picture = view.image.convert("L") if grey else view.image
    panel.imshow(picture, extent=view.extent, cmap="gray", vmin=0, vmax=255)
    panel.set_xticks([])
    panel.set_yticks([])


def _short(name: str) -> str:
    return name.replace("left_", "l. ").replace("right_", "r. ")


def _save(figure: Figure, out: Path) -> None:
    with written_whole(out, picture=True) as beside:
        # Without the version of matplotlib, so that the same input gives the same bytes.
        figure.savefig(beside, format="png", metadata={"Software": None})
