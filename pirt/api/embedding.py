"""Images as a model sees them, with heatmaps of a store or made on the fly."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pirt.core.errors import DataError, ParamsError, StoreError
from pirt.core.manifest import ImageRow, Manifest, Rows, Split
from pirt.heatmaps.reader import HeatmapStore
from pirt.models import Pirt
from pirt.ranking.embed import Speed, choose_speed, features_of, heatmaps_for, images_for, outputs_of
from pirt.ranking.evaluation import Persons
from pirt.ranking.matching import Features
from pirt.runs.cache import HeatmapCache, without_skipped
from pirt.runs.run import RunRecord

HeatmapsOf = Callable[[Sequence[Path]], NDArray[np.float32]]
"""Returns the heatmaps, n×K×Hm×Wm in [0, 1], of n image files."""
_LIVE_AT_A_TIME = 256  # images whose heatmaps are in memory


def live_heatmaps(
    config: str | None = None, checkpoint: str | None = None, *, input_size: tuple[int, int] | None = None
) -> HeatmapsOf:
    """Return what makes heatmaps of image files with an MMPose network, by default the paper's HRNet-W48.

    `input_size` is the network's height and width, by default what `pirt-pose extract` takes. Needs the pose extra: a
    package that can make heatmaps offers a function in the entry point group `pirt.heatmaps`.
    """
    for point in entry_points(group="pirt.heatmaps"):
        try:
            make: Callable[..., HeatmapsOf] = point.load()
        except ModuleNotFoundError as error:
            raise ParamsError(
                f"heatmaps on the fly need {str(error.name).partition('.')[0]}: {_HOW_TO_GET_HEATMAPS}"
            ) from error
        return make(config, checkpoint, input_size)
    raise ParamsError(f"no installed package makes heatmaps on the fly: {_HOW_TO_GET_HEATMAPS}")


_HOW_TO_GET_HEATMAPS = (
    "install Pirt with its pose extra as its README says, pass a store of `pirt-pose extract`, or a function of "
    "image files that returns heatmaps"
)


@dataclass(frozen=True)
class Embedded:
    """N images as a model sees them. A slice or a list of places gives some of them."""

    manifest: Manifest
    rows: Sequence[ImageRow]
    features: Features
    group_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: slice | Sequence[int]) -> "Embedded":
        wanted = list(range(len(self)))[places] if isinstance(places, slice) else list(places)
        rows = tuple(self.rows[place] for place in wanted)
        return Embedded(self.manifest, rows, self.features[wanted], self.group_names)

    def split(self, split: Split) -> "Embedded":
        """Return the images of "train", "query" or "gallery"."""
        return self[[place for place, row in enumerate(self.rows) if row.split == split]]

    @property
    def keys(self) -> tuple[str, ...]:
        """Every image's key."""
        return tuple(row.key for row in self.rows)

    @property
    def persons(self) -> Persons:
        """The features with each image's pid and camera."""
        rows = Rows.of(self.rows)
        return Persons(self.features, rows.pids, rows.camids)

    @property
    def vectors(self) -> NDArray[np.float32]:
        """One vector an image, for trackers and indices: N×(S·C) of unit length, the S global features side by side.

        The dot product of two is the mean cosine similarity of the global features; parts have no share in it.
        """
        vectors: NDArray[np.float32] = self.features.globals.numpy() / np.float32(np.sqrt(self.features.global_count))
        return vectors

    @property
    def parts(self) -> dict[str, NDArray[np.float32]]:
        """The unit feature of each part group by name, N×C; empty for models without parts."""
        groups = () if self.features.groups is None else self.features.groups.numpy()
        return dict(zip(self.group_names, groups, strict=True))

    @property
    def confidence(self) -> dict[str, NDArray[np.float32]]:
        """How far each part group is to be trusted by name, N; they sum to 1 over the groups of an image."""
        columns = () if self.features.confidence is None else self.features.confidence.numpy().T
        return dict(zip(self.group_names, columns, strict=True))


def embed(
    model: Pirt,
    record: RunRecord,
    images: Manifest,
    heatmaps: HeatmapStore | HeatmapsOf | None = None,
    *,
    device: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
) -> Embedded:
    """Describe all images of a manifest with the model of a run.

    `heatmaps` is a store that has the manifest's images, or a function as `live_heatmaps` returns; the baseline
    needs neither. Images that stage 1 could not read are left out.
    """
    speed = choose_speed(device, batch_size, workers)
    if callable(heatmaps) and model.uses_heatmaps:
        images.require_files()
        rows: Sequence[ImageRow] = images.rows
        batches = _live_outputs(model, record, images, heatmaps, speed)
    else:
        store = heatmaps if isinstance(heatmaps, HeatmapStore) else None
        if store is not None:
            store.require_images(images)
        rows = without_skipped(store, images.rows)
        if not rows:
            raise DataError(f"all {len(images.rows)} images were skipped in stage 1, which could not read them")
        images.require_files(rows)
        cache = heatmaps_for(model, record, store, rows)
        batches = outputs_of(model, images_for(record.params.train, images, rows, cache), speed)
    return Embedded(images, rows, features_of(batches, model.global_names), model.group_names)


def _live_outputs(
    model: Pirt, record: RunRecord, images: Manifest, heatmaps: HeatmapsOf, speed: Speed
) -> Iterator[dict[str, torch.Tensor]]:
    for start in range(0, len(images.rows), _LIVE_AT_A_TIME):
        rows = images.rows[start : start + _LIVE_AT_A_TIME]
        made = heatmaps([images.image_path(row) for row in rows])
        if len(made) != len(rows) or made.shape[2:] != record.heatmap_size:
            raise StoreError(
                f"heatmaps on the fly are {made.shape} for {len(rows)} images, the run was trained with heatmaps of "
                f"{record.heatmap_size}; make them with the input_size of its store"
            )
        cache = HeatmapCache(torch.from_numpy(made), table=None, fingerprint="")
        yield from outputs_of(model, images_for(record.params.train, images, rows, cache), speed)
