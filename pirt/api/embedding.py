"""Images as a model sees them, with heatmaps of a store or made on the fly."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pirt.api.asked import require_at_least, require_one_of
from pirt.core.errors import DataError, ParamsError, StoreError
from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.manifest import SPLITS, ImageRow, Manifest, Rows, Split
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
    # By an entry point, for the library knows neither the programs nor MMPose.
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


@dataclass(frozen=True, repr=False)
class Embedded:
    """N images as a model sees them. A place, a slice, a list of places or N truth values give some of them."""

    manifest: Manifest
    rows: Sequence[ImageRow]
    features: Features
    group_names: tuple[str, ...]
    weights_sha256: str | None = None
    """Of the run whose model it was; features of two models are not comparable."""

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        parts = f", parts {', '.join(self.group_names)}" if self.group_names else ""
        return f"Embedded({len(self)} images, vectors {len(self)}×{self.features.globals.shape[1]}{parts})"

    def __getitem__(self, places: int | slice | Sequence[int] | Sequence[bool] | NDArray[Any]) -> "Embedded":
        # NumPy knows all ways to name places, and refuses anything else.
        wanted = np.atleast_1d(np.arange(len(self))[places]).tolist()
        rows = tuple(self.rows[place] for place in wanted)
        return replace(self, rows=rows, features=self.features[wanted])

    def split(self, split: Split) -> "Embedded":
        """Return the images of "train", "query" or "gallery"."""
        require_one_of(split, SPLITS, "split")
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
        """One vector per image, for trackers and indices: N×(S·C) of unit length, the S global features side by side.

        The dot product of two is the mean cosine similarity of the global features; parts have no share in it.
        """
        # S unit features side by side have the length √S.
        vectors: NDArray[np.float32] = self.features.globals.numpy() / np.float32(np.sqrt(self.features.global_count))
        return vectors

    @property
    def parts(self) -> dict[str, NDArray[np.float32]]:
        """The unit feature of each part group by name, N×C; empty for models without parts."""
        groups = () if self.features.groups is None else self.features.groups.numpy()
        return dict(zip(self.group_names, groups, strict=True))

    @property
    def confidence(self) -> dict[str, NDArray[np.float32]]:
        """How far to trust each part group, by name, N; these sum to 1 over the groups of an image."""
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
    needs neither. Images that stage 1 could not read are left out. `device` is "auto", "cpu" or "cuda".
    """
    require_one_of(device, ("auto", "cpu", "cuda"), "device")
    require_at_least(1, batch_size, "batch_size")
    require_at_least(0, workers, "workers")
    if model.uses_heatmaps and not (callable(heatmaps) or isinstance(heatmaps, HeatmapStore)):
        raise ParamsError(
            f"heatmaps = {heatmaps!r:.80}, but this model needs some; pass a store, as pirt.open_store returns, or a "
            "function, as pirt.live_heatmaps returns"
        )
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
        # Only of those that are left: what stage 1 could not read may be gone.
        images.require_files(rows)
        cache = heatmaps_for(model, record, store, rows)
        batches = outputs_of(model, images_for(record.params.train, images, rows, cache), speed)
    features = features_of(batches, model.global_names)
    return Embedded(images, rows, features, model.group_names, record.weights_sha256)


def _live_outputs(
    model: Pirt, record: RunRecord, images: Manifest, heatmaps: HeatmapsOf, speed: Speed
) -> Iterator[dict[str, torch.Tensor]]:
    for start in range(0, len(images.rows), _LIVE_AT_A_TIME):
        rows = images.rows[start : start + _LIVE_AT_A_TIME]
        made = np.asarray(heatmaps([images.image_path(row) for row in rows]), np.float32)
        if made.shape[:2] != (len(rows), len(COCO_KEYPOINTS)) or made.shape[2:] != record.heatmap_size:
            raise StoreError(
                f"heatmaps on the fly are {made.shape} for {len(rows)} images, the run was trained with "
                f"{len(COCO_KEYPOINTS)} heatmaps of {record.heatmap_size} an image; make them with the input_size of "
                "its store"
            )
        if not ((made >= 0) & (made <= 1)).all():  # so written, it fails for NaN too
            raise DataError(f"heatmaps on the fly go from {made.min():g} to {made.max():g}, expected 0 to 1; clip them")
        # Values instead of codes, so there is no table; and no store whose fingerprint a lineage could name.
        cache = HeatmapCache(torch.from_numpy(made), table=None, fingerprint="")
        yield from outputs_of(model, images_for(record.params.train, images, rows, cache), speed)
