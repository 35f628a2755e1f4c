"""Live heatmaps in training: the same images, batches and steps as with the cache; only the heatmaps are others."""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from pirt.core.manifest import read_manifest
from pirt.runs.cache import store_for
from pirt.runs.dataset import Draw
from pirt.runs.params import AugmentParams, Params, load_params
from pirt.training.recipe import Job
from pirt.training.setup import training_set

pytest.importorskip("mmpose", reason="live heatmaps are made by stage 1")
FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(FOLDER)
    return runpy.run_path(str(FOLDER / "live_training.py"), run_name="not main")


def job_of(persons: Path, out: Path, **augment: object) -> Job:
    manifest = read_manifest(persons / "manifest.csv")
    params = load_params(persons / "params.yaml", "pirt")
    train = params.train.model_copy(update={"epochs": 1, "augment": AugmentParams(**{"pad": 4, **augment})})
    params = Params(seed=params.seed, model=params.model, train=train)
    return Job(params, "pirt", manifest, store_for(persons / "heatmaps.zarr", manifest), out, device="cpu", workers=0)


def test_heatmaps_are_made_of_the_augmented_images(persons: Path, benchmark: dict[str, Any], tmp_path: Path) -> None:
    job = job_of(persons, tmp_path / "run")
    cached, asked = training_set(job.manifest, job.heatmaps, job.params), []

    def of_brightness(images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        asked.extend(images)
        return np.stack([np.full((17, 16, 8), image.mean() / 255, np.float32) for image in images])

    live = benchmark["LiveDataset"](cached, of_brightness, "tau8", 0.001)
    draws = [Draw(index, (1, index)) for index in (3, 5, 3)]
    for one, other, image in zip(cached.__getitems__(draws), live.__getitems__(draws), asked, strict=False):
        assert torch.equal(one["image"], other["image"])
        assert (one["label"], one["index"]) == (other["label"], other["index"])
        assert np.array_equal(other["image"].numpy(), image)
        values = cached.cache.decode(other["heatmaps"])
        assert values.shape == (17, 16, 8)
        assert values.numpy() == pytest.approx(image.mean() / 255, rel=0.015)
    assert len(asked) == 3


@pytest.mark.slow
def test_live_heatmaps_that_equal_the_cached_ones_train_the_same_weights(
    persons: Path, benchmark: dict[str, Any], tmp_path: Path
) -> None:
    """Without augmentation, a network that gives what the store holds changes nothing; another one does."""
    still = {"flip": 0.0, "erase": 0.0, "pad": 0}
    jobs = {name: job_of(persons, tmp_path / name, **still) for name in ("cached", "same", "other")}
    dataset = training_set(jobs["same"].manifest, jobs["same"].heatmaps, jobs["same"].params)
    known = {dataset._image(n).tobytes(): dataset.cache.decode(dataset.cache.codes[n]) for n in range(len(dataset))}

    def looked_up(images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return np.stack([known[image.tobytes()].numpy() for image in images])

    benchmark["train"](jobs["cached"], None)
    benchmark["train"](jobs["same"], looked_up)
    benchmark["train"](jobs["other"], lambda images: looked_up(images)[:, ::-1].copy())
    weights = {name: load_file(tmp_path / name / "model.safetensors") for name in jobs}
    assert all(torch.equal(weights["cached"][name], value) for name, value in weights["same"].items())
    assert not all(torch.equal(weights["cached"][name], value) for name, value in weights["other"].items())
