"""What a training is made of, checked before anything runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from pirt.core.errors import CheckpointError, DataError, ParamsError
from pirt.core.manifest import ImageRow, Manifest, Rows
from pirt.core.pids import DISTRACTOR_PID
from pirt.core.sizes import without_memory
from pirt.heatmaps.reader import HeatmapStore
from pirt.models import Pirt, load_published
from pirt.runs.cache import HeatmapCache, heatmaps_for_model, without_skipped
from pirt.runs.dataset import PersonDataset
from pirt.runs.params import ModelParams, Params
from pirt.runs.run import RunRecord, build_model, load_weights, read_record, run_weights, weights_sha256
from pirt.training.augmentation import TrainTransform

# What fine-tuning may change, since no weight's name or shape depends on it.
_MAY_CHANGE = {"tau", "intra_dropout", "intra_mask", "inter_dropout"}
_OPTIONS_MAY_CHANGE = {"drop_path", "checkpointing", "semantic_weight"}


def training_set(manifest: Manifest, heatmaps: HeatmapStore | None, params: Params) -> PersonDataset:
    """Return the training images with the heatmaps that the model looks at.

    Junk (pid −1) and distractors (pid 0) are nobody in particular, so they are left out.
    """
    persons = _persons(manifest)
    rows, cache = readable_rows(manifest, persons, heatmaps, params)
    if not rows:
        raise DataError(f"all {len(persons)} train images were skipped in stage 1; fix them and extract them again")
    train = params.train
    augment = train.augment
    transform = TrainTransform(
        train.image_size,
        train.image_mean,
        train.image_std,
        flip=augment.flip,
        pad=augment.pad,
        erase=augment.erase,
        erase_heatmaps=augment.erase_heatmaps,
    )
    return PersonDataset(manifest, rows, cache, transform)


def _persons(manifest: Manifest) -> Rows:
    rows = manifest.split("train")
    persons = rows.take(rows.pids > DISTRACTOR_PID)
    if not len(persons):
        raise DataError(
            f"none of the {len(rows):,} train images is of a person (pid 1 or more), so there is nobody to learn; "
            "import images with their persons"
        )
    return persons


def readable_rows(
    manifest: Manifest, rows: Sequence[ImageRow], heatmaps: HeatmapStore | None, params: Params
) -> tuple[Sequence[ImageRow], HeatmapCache | None]:
    """Return `rows` without those that stage 1 skipped as unreadable, and the heatmaps that the model needs."""
    rows, cache = without_skipped(heatmaps, rows), None
    if params.model.parts or params.model.intra:
        cache = heatmaps_for_model(heatmaps, rows, params.model.tau)
        check_grid(params, cache)
    manifest.require_files(rows)
    return rows, cache


def check_grid(params: Params, cache: HeatmapCache) -> None:
    """Raise when image and heatmaps cannot share the model's feature grid."""
    with without_memory():  # for its grid alone
        backbone = build_model(1, params).backbone
    grid = backbone.grid(params.train.image_size)
    for side, cells, heatmap in zip(("height", "width"), grid, cache.size, strict=True):
        if heatmap < cells * params.model.refine:
            raise ParamsError(
                f"heatmap {side} {heatmap} is smaller than the feature grid's {cells * params.model.refine}; extract "
                "heatmaps with another --input-size, or lower train.image_size"
            )


def starting_network(num_classes: int, params: Params, init_from: Path | None) -> tuple[Pirt, list[str]]:
    """Build the model with the weights that its training starts from; say what was made of published ones."""
    network = build_model(num_classes, params)
    if init_from is not None:
        start_from_run(network, params.model, init_from)
    elif params.train.backbone_weights is not None:
        return network, load_published(network.backbone, params.train.backbone_weights)
    return network, []


def start_from_run(network: Pirt, model: ModelParams, folder: Path) -> None:
    """Take all weights of another run but its classifiers, whose identities are other people."""
    theirs, ours = (_architecture(one) for one in (read_record(folder).params.model, model))
    if other := [name for name in ours if name not in _MAY_CHANGE and theirs[name] != ours[name]]:
        named = "; ".join(f"{name} is {theirs[name]} there, {ours[name]} here" for name in other)
        raise CheckpointError(f"run {folder} has another architecture: {named}; use its model parameters")
    weights = run_weights(folder)
    own = network.state_dict()
    weights |= {name: own[name] for name in weights.keys() & own.keys() if name.endswith(".classifier")}
    load_weights(network, weights, f"run {folder}")


def _architecture(model: ModelParams) -> dict[str, Any]:
    options = {name: value for name, value in model.backbone_options.items() if name not in _OPTIONS_MAY_CHANGE}
    return model.model_dump() | {"backbone_options": options}


def record_of(
    dataset: PersonDataset,
    params: Params,
    variant: str | None,
    init_from: Path | None,
    evaluate: dict[str, JsonValue] | None,
) -> RunRecord:
    """Return what the run folder will say of this training."""
    cache, keys = dataset.cache, set(dataset.rows.keys)
    return RunRecord(
        variant=variant,
        num_classes=dataset.num_classes,
        manifest_fingerprint=dataset.manifest.fingerprint,
        heatmaps_fingerprint=None if cache is None else cache.fingerprint,
        heatmap_size=None if cache is None else cache.size,
        initial_weights_sha256=None if init_from is None else weights_sha256(init_from),
        unreadable=tuple(key for key in _persons(dataset.manifest).keys if key not in keys),
        params=params,
        evaluate=evaluate,
    )
