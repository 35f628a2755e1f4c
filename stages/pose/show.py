"""The recipe of `pirt-pose show`: heatmaps, part masks and scores over the images, for a person to judge."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray
from PIL import Image

from pirt.data.images import read_image
from pirt.data.manifest import ImageRow, Manifest
from pirt.errors import DataError, ParamsError
from pirt.files import written_whole
from pirt.heatmaps.reader import HeatmapStore
from pirt.keypoints import GROUP_NAMES, GROUPS

_COLOURS = ("#e69f00", "#0072b2", "#009e73")
"""Of head, upper and lower; colour-blind readers tell them apart."""
_GROUP_OF = [next(g for g, group in enumerate(GROUPS["paper"]) if k in group) for k in range(17)]
_DPI = 110
_PANEL_HEIGHT = 2.0
_SHEET_COLUMNS = 2


@dataclass(frozen=True)
class View:
    """One image with what the store holds of it."""

    row: ImageRow
    image: Image.Image
    heatmaps: NDArray[np.float32]
    """K×Hm×Wm."""
    scores: NDArray[np.float32]
    tau: float
    names: tuple[str, ...]

    @property
    def shape(self) -> float:
        """Width over height, kept within what a panel can show."""
        return float(np.clip(self.image.width / self.image.height, 0.3, 2))


def show_image(store: HeatmapStore, manifest: Manifest, key: str, out: Path) -> None:
    """Draw one image large, with every keypoint's heatmap, to the PNG `out`."""
    if key not in store.keys:
        raise DataError(f"no image has the key {key!r}; keys look like {store.keys[0]!r}")
    (view,) = _views(store, manifest, [store.keys.index(key)])
    _save(_draw_image(view), out)


def show_sheet(
    store: HeatmapStore, manifest: Manifest, count: int, split: str | None, weakest: bool, out: Path
) -> None:
    """Draw `count` images, spread evenly over the store or those of the lowest scores, to the PNG `out`."""
    skipped = {image.key for image in store.skipped}
    rows = [
        row
        for row, image in enumerate(manifest.rows)
        if image.key not in skipped and (split is None or image.split == split)
    ]
    if not rows:
        raise ParamsError(f"the store has no readable image of split {split!r}")
    if weakest:
        rows.sort(key=lambda row: float(store.scores[row].mean()))
        chosen = rows[:count]
    else:
        chosen = [rows[place] for place in np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)]
    _save(_draw_sheet(list(_views(store, manifest, chosen))), out)


def _views(store: HeatmapStore, manifest: Manifest, rows: Sequence[int]) -> Iterator[View]:
    reasons = {image.key: image.reason for image in store.skipped}
    for row in rows:
        image = manifest.rows[row]
        if image.key in reasons:
            raise DataError(f"{image.key!r} was skipped: {reasons[image.key]}")
        yield View(
            image,
            read_image(manifest.image_path(image)),
            store.read([row])[0],
            store.scores[row],
            store.attributes.tau,
            store.attributes.keypoints,
        )


def _draw_image(view: View) -> Figure:
    width = _PANEL_HEIGHT * view.shape
    figure = Figure(figsize=(max(9 * (width + 0.1), 8.5), 3.1 * _PANEL_HEIGHT + 1.2), dpi=_DPI, layout="constrained")
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.15, 2)).ravel()
    figure.suptitle(f"{view.row.key}   pid {view.row.pid}, camera {view.row.camid}", fontsize=10)
    _draw_strip(upper, view)
    panels = lower.subplots(2, 9).ravel()
    for keypoint, panel in enumerate(panels):
        if keypoint < len(view.names):
            _over_image(panel, view, view.heatmaps[keypoint])
            name = view.names[keypoint].replace("_", " ").replace("left", "l.").replace("right", "r.")
            panel.set_title(f"{name} {view.scores[keypoint]:.2f}", fontsize=8, color=_COLOURS[_GROUP_OF[keypoint]])
        else:
            panel.set_axis_off()
    return figure


def _draw_sheet(views: Sequence[View]) -> Figure:
    columns = min(_SHEET_COLUMNS, len(views))
    lines = -(-len(views) // columns)
    strip = 5 * (_PANEL_HEIGHT * max(view.shape for view in views) + 0.1) + 2.4
    size = (columns * (strip + 0.4), lines * (_PANEL_HEIGHT + 0.6))
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    cells = figure.subfigures(lines, columns, squeeze=False, wspace=0.03).ravel()
    for cell, view in zip(cells, views, strict=False):
        cell.suptitle(f"{view.row.key}   pid {view.row.pid}, camera {view.row.camid}", fontsize=8)
        _draw_strip(cell, view)
    return figure


def _draw_strip(figure: SubFigure, view: View) -> None:
    """Draw the image, its heatmaps at once, the three part masks and the scores, side by side."""
    panels = figure.subplots(1, 6, width_ratios=[view.shape] * 5 + [1.0])
    _over_image(panels[0], view, None)
    panels[0].set_title(f"{view.image.width}×{view.image.height}", fontsize=8)
    _over_image(panels[1], view, view.heatmaps.max(axis=0))
    panels[1].set_title("heatmaps", fontsize=8)
    for panel, group, name, colour in zip(panels[2:5], GROUPS["paper"], GROUP_NAMES, _COLOURS, strict=True):
        mask = (view.heatmaps[list(group)] > np.float32(view.tau)).any(axis=0)
        _over_image(panel, view, None)
        tint = ListedColormap(["#00000000", colour])
        panel.imshow(mask, cmap=tint, vmin=0, vmax=1, alpha=0.6, extent=_extent(view), interpolation="nearest")
        panel.set_title(f"{name} {view.scores[list(group)].max():.2f}\n{mask.mean():.0%} > τ", fontsize=8, color=colour)
    _draw_scores(panels[5], view)


def _draw_scores(panel: Axes, view: View) -> None:
    places = np.arange(len(view.scores))
    panel.barh(places, view.scores, color=[_COLOURS[_GROUP_OF[k]] for k in places])
    panel.set_yticks(places, [name.replace("left_", "l. ").replace("right_", "r. ") for name in view.names], fontsize=5)
    panel.set_xticks([0, 1], ["0", "1"], fontsize=6)
    panel.set_xlim(0, 1)
    panel.invert_yaxis()
    panel.set_title("scores", fontsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _over_image(panel: Axes, view: View, heatmap: NDArray[np.float32] | None) -> None:
    """Show the image in grey, under `heatmap` if there is one, else as it is."""
    extent = _extent(view)
    if heatmap is None:
        panel.imshow(view.image, extent=extent)
    else:
        panel.imshow(view.image.convert("L"), extent=extent, cmap="gray", vmin=0, vmax=255)
        panel.imshow(heatmap, extent=extent, cmap="inferno", vmin=0, vmax=1, alpha=0.65, interpolation="bilinear")
    panel.set_xticks([])
    panel.set_yticks([])
    panel.set_aspect(view.image.width / view.image.height / view.shape)


def _extent(view: View) -> tuple[float, float, float, float]:
    """Cells span the image evenly, as stage 2 takes them."""
    return 0.0, float(view.image.width), float(view.image.height), 0.0


def _save(figure: Figure, out: Path) -> None:
    with written_whole(out) as beside:
        # Without the version of matplotlib, so that the same input gives the same bytes.
        figure.savefig(beside, format="png", metadata={"Software": None})
