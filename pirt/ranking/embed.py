"""From a run folder and images to `embeddings.h5`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pirt.core.errors import DataError, ManifestError, ParamsError, StoreError
from pirt.core.manifest import ImageRow, Manifest, Rows
from pirt.heatmaps.reader import HeatmapStore
from pirt.models import Pirt
from pirt.progress import progress
from pirt.ranking.embeddings import EMBEDDED_SPLITS, EmbeddingsLineage, write_embeddings
from pirt.ranking.evaluation import require_valid_matches
from pirt.ranking.matching import Features, make_features
from pirt.runs.cache import HeatmapCache, heatmaps_for_model, without_skipped
from pirt.runs.dataset import PersonDataset, batches_of
from pirt.runs.loading import default_workers, make_loader
from pirt.runs.params import TrainParams
from pirt.runs.precision import tf32
from pirt.runs.run import RunRecord, load_run
from pirt.runs.transforms import EvalTransform

BATCH_SIZE = 64
"""Images at a time unless told otherwise."""
_FETCHED = 16
"""Batches whose outputs are fetched from a GPU at a time: it has nothing to do while the program waits for a copy."""


@dataclass(frozen=True)
class Speed:
    """What changes how fast images are embedded; of the result at most the last bits, on another kind of device."""

    device: torch.device
    batch_size: int
    workers: int


def choose_device(name: str) -> torch.device:
    """Return the device of "cpu", "cuda", or "auto": a GPU if there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ParamsError("device 'cuda' is asked for, but PyTorch sees no GPU; use --device auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def choose_speed(device_name: str, batch_size: int | None = None, workers: int | None = None) -> Speed:
    """Take enough loader processes for a GPU; a CPU's cores are wanted by the network itself."""
    device = choose_device(device_name)
    if workers is None:
        workers = default_workers(on_gpu=True) if device.type == "cuda" else 0
    return Speed(device, batch_size or BATCH_SIZE, workers)


@dataclass(frozen=True)
class Source:
    """What is embedded: images of a manifest, with the heatmaps of a store, by the model of a run."""

    run: Path
    manifest: Manifest
    heatmaps: HeatmapStore | None


def embed(source: Source, rows: Sequence[ImageRow], out: Path, speed: Speed) -> None:
    """Describe `rows` of the manifest (queries, then gallery) with the model of the run and write them to `out`."""
    run, manifest = source.run, source.manifest
    model, record = load_run(run)
    readable = without_skipped(source.heatmaps, rows)
    if not readable:
        raise DataError(f"all {len(rows)} images to embed were skipped in stage 1; fix them and extract them again")
    manifest.require_files(readable)
    cache = heatmaps_for(model, record, source.heatmaps, readable)
    lineage = EmbeddingsLineage(
        variant=record.variant,
        seed=record.params.seed,
        model=record.params.model,
        train=record.params.train,
        checkpoint_sha256=str(record.weights_sha256),
        trained_on_manifest=record.manifest_fingerprint,
        trained_on_heatmaps=record.heatmaps_fingerprint,
        initial_weights_sha256=record.initial_weights_sha256,
        manifest_fingerprint=manifest.fingerprint,
        heatmaps_fingerprint=None if cache is None else cache.fingerprint,
        image_size=record.params.train.image_size,
        # A set has no order, and the same input is to give the same bytes.
        unreadable=tuple(sorted({row.key for row in rows} - {row.key for row in readable})),
    )
    images = images_for(record.params.train, manifest, readable, cache)
    write_embeddings(out, readable, lineage, outputs_of(model, images, speed))


def rows_to_embed(manifest: Manifest) -> Rows:
    """Return the queries, then the gallery, of which one may be empty."""
    places = np.concatenate([np.flatnonzero(manifest.rows.of_split(split)) for split in EMBEDDED_SPLITS])
    rows = manifest.rows.take(places)
    if not rows:
        raise ManifestError("the manifest has neither query nor gallery images; there is nothing to embed")
    return rows


def rows_to_measure(source: Source) -> Rows:
    """Return the queries, then the gallery; an evaluation that could only give zeros is an error."""
    manifest = source.manifest
    # Judged by the images that can be read: only these are ranked.
    kept = (without_skipped(source.heatmaps, manifest.split(split)) for split in EMBEDDED_SPLITS)
    query, gallery = (Rows.of(rows) for rows in kept)
    require_valid_matches(query.pids, gallery.pids, query.camids, gallery.camids)
    return rows_to_embed(manifest)


def heatmaps_for(
    model: Pirt, record: RunRecord, store: HeatmapStore | None, rows: Sequence[ImageRow]
) -> HeatmapCache | None:
    """Return the heatmaps of `rows` if the model looks at them."""
    if not model.uses_heatmaps:
        return None
    cache = heatmaps_for_model(store, rows, record.params.model.tau)
    if record.heatmap_size != cache.size:
        raise StoreError(
            f"heatmap store {store and store.path} has heatmaps of {cache.size}, the run was trained with "
            f"{record.heatmap_size}; extract them with the same --input-size"
        )
    return cache


def images_for(
    train: TrainParams, manifest: Manifest, rows: Sequence[ImageRow], cache: HeatmapCache | None
) -> PersonDataset:
    """Return `rows` as a model that was trained so takes them in evaluation."""
    return PersonDataset(manifest, rows, cache, EvalTransform(train.image_size, train.image_mean, train.image_std))


def features_of(batches: Iterable[Mapping[str, Tensor]], global_names: Sequence[str]) -> Features:
    """Put a model's outputs, which are float32 on the CPU, together as they are matched."""
    outputs: dict[str, list[Tensor]] = {}
    for batch in batches:
        for name, values in batch.items():
            outputs.setdefault(name, []).append(values)
    whole = {name: torch.cat(values) for name, values in outputs.items()}
    return make_features([whole[name] for name in global_names], whole.get("groups"), whole.get("confidence"))


def outputs_of(model: Pirt, dataset: PersonDataset, speed: Speed) -> Iterator[dict[str, Tensor]]:
    """Yield the model's outputs for one part of the images after the other, float32 on the CPU."""
    on_gpu = speed.device.type == "cuda"
    loader = make_loader(dataset, speed.batch_size, speed.workers, on_gpu=on_gpu)
    model = model.to(speed.device).eval()
    waiting: list[dict[str, Tensor]] = []
    with progress(len(dataset), "embedding", "image") as bar:
        for batch in batches_of(loader, speed.device):
            # Not around the yield: a generator that is left there would leave its caller in inference mode.
            with torch.inference_mode(), tf32(allowed=False):
                waiting.append(model(batch["image"], batch["heatmaps"]))
            bar.update(len(batch["image"]))
            # A CPU's go one by one: in other portions HDF5 would lay the same numbers out in other bytes.
            if not on_gpu or len(waiting) == _FETCHED:
                yield _fetched(waiting)
                waiting = []
        if waiting:
            yield _fetched(waiting)


def _fetched(batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([batch[name] for batch in batches]).float().cpu() for name in batches[0]}
