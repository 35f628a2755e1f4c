"""Pictures of persons: the cached heatmaps over the images, and what the IRM answers to (figure 6)."""

from collections import defaultdict
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from pirt.core.errors import ReportError
from pirt.core.manifest import ImageRow, Manifest
from pirt.core.pids import same_person
from pirt.models import Pirt
from pirt.models.part_groups import NamedGroups
from pirt.runs.dataset import PersonDataset
from pirt.visual.style import new_figure, part_colours

FloatImage = NDArray[np.float64]
"""Height × width × 3 in [0, 1]."""
_HEIGHT = 2.2
_LEGEND_COLUMNS = 6


def choose_pairs(manifest: Manifest, count: int) -> list[ImageRow]:
    """Return `count` query images of different persons, each followed by a gallery image of that person.

    The persons are spread evenly over the manifest, so that the choice is nobody's taste.
    """
    gallery: dict[int, list[ImageRow]] = defaultdict(list)
    for row in manifest.split("gallery"):
        gallery[row.pid].append(row)
    # The first query and match of each person, in the manifest's order.
    pairs: dict[int, tuple[ImageRow, ImageRow]] = {}
    for query in manifest.split("query"):
        matches = (row for row in gallery[query.pid] if same_person(query.pid, row.pid) and row.camid != query.camid)
        if query.pid not in pairs and (match := next(matches, None)):
            pairs[query.pid] = (query, match)
    if not pairs:
        raise ReportError("no query has a gallery image of the same person by another camera; there is nothing to show")
    # By pid, whose order says nothing about how hard a person is.
    chosen = sorted(pairs)[:: max(1, len(pairs) // count)][:count]
    return [row for pid in chosen for row in pairs[pid]]


def draw_heatmaps(dataset: PersonDataset, groups: NamedGroups) -> Figure:
    """Draw each image, and below it its heatmaps in the colours of the part groups."""
    images = [_image(dataset, index) for index in range(len(dataset))]
    covered = [
        _tinted(image, dataset[index]["heatmaps"].numpy().astype(np.float64), groups)
        for index, image in enumerate(images)
    ]
    figure = _grid(dataset.rows, [("image", images), ("heatmaps", covered)])
    colours = part_colours(len(groups))
    patches = [Patch(color=colour, label=name) for (name, _), colour in zip(groups, colours, strict=True)]
    figure.legend(handles=patches, loc="outside lower center", ncols=min(len(groups), _LEGEND_COLUMNS), frameon=False)
    return figure


def draw_activations(model: Pirt, dataset: PersonDataset) -> Figure:
    """Draw each image, and below it the mean over channels of F_irm, from its lowest to its highest cell."""
    items = [dataset[index] for index in range(len(dataset))]
    with torch.inference_mode():
        features = model.intra_features(
            torch.stack([item["image"] for item in items]), torch.stack([item["heatmaps"] for item in items])
        )
    means = features.mean(dim=1).double().numpy()
    images = [_image(dataset, index) for index in range(len(dataset))]
    heated = [_heated(image, mean) for image, mean in zip(images, means, strict=True)]
    figure = _grid(dataset.rows, [("image", images), ("after the IRM", heated)])
    scale = mpl.cm.ScalarMappable(cmap="inferno")
    bar = figure.colorbar(scale, ax=figure.axes, location="bottom", fraction=0.04, pad=0.02, aspect=40)
    bar.set_ticks([0, 1], labels=["lowest cell of the image", "highest"])
    bar.ax.get_xticklabels()[0].set_horizontalalignment("left")
    bar.ax.get_xticklabels()[1].set_horizontalalignment("right")
    return figure


def _grid(rows: Sequence[ImageRow], lines: Sequence[tuple[str, Sequence[FloatImage]]]) -> Figure:
    height, width = lines[0][1][0].shape[:2]
    figure = new_figure(len(rows) * (_HEIGHT * width / height + 0.08) + 0.3, len(lines) * _HEIGHT + 0.7)
    axes = figure.subplots(len(lines), len(rows), squeeze=False)
    for line, (label, pictures) in zip(axes, lines, strict=True):
        line[0].set_ylabel(label)
        for panel, picture in zip(line, pictures, strict=True):
            _show(panel, picture)
    for panel, row in zip(axes[0], rows, strict=True):
        panel.set_title(f"{row.split} {row.pid}", fontsize=8)
    return figure


def _show(panel: Axes, picture: FloatImage) -> None:
    panel.imshow(picture)
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_visible(False)


def _image(dataset: PersonDataset, index: int) -> FloatImage:
    """Return the image as the model sees it, before normalising."""
    mean, std = (np.array(v)[:, None, None] for v in (dataset.transform.mean, dataset.transform.std))
    picture: FloatImage = dataset[index]["image"].numpy() * std + mean
    return picture.transpose(1, 2, 0).clip(0, 1)


def _tinted(image: FloatImage, heatmaps: NDArray[np.float64], groups: NamedGroups) -> FloatImage:
    # Grey and dark, so that only the parts have colour.
    tinted: FloatImage = 0.5 * image.mean(axis=2, keepdims=True).repeat(3, axis=2)
    for (_, group), colour in zip(groups, part_colours(len(groups)), strict=True):
        opacity = _enlarged(heatmaps[list(group)].max(axis=0), image.shape[:2])[:, :, None].clip(0, 1)
        tinted = tinted * (1 - opacity) + np.array(to_rgb(colour)) * opacity
    return tinted


def _heated(image: FloatImage, cells: NDArray[np.float64]) -> FloatImage:
    span = cells.max() - cells.min()
    scaled = (cells - cells.min()) / span if span > 0 else np.zeros_like(cells)
    heat = mpl.colormaps["inferno"](_enlarged(scaled, image.shape[:2]))[:, :, :3]
    mixed: FloatImage = 0.4 * image + 0.6 * heat
    return mixed


def _enlarged(cells: NDArray[np.float64], size: tuple[int, ...]) -> NDArray[np.float64]:
    height, width = size
    enlarged = Image.fromarray(cells.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(enlarged, np.float64)
