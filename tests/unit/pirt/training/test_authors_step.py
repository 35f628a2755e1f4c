"""A training with all options as the authors' is their program's, step by step, in float64 and without dropout."""

from pathlib import Path

import authors_step
import numpy as np
import pytest
import torch
from lightning_fabric.plugins import DoublePrecision
from PIL import Image
from ruamel.yaml import YAML
from tiny_persons import HEATMAP_SIZE, IMAGE_SIZE

from pirt.core.manifest import read_manifest
from pirt.core.params import read_yaml
from pirt.runs.cache import store_for
from pirt.runs.params import Params, load_params
from pirt.training import objective, processes, recipe

AUTHORS = Path(__file__).parents[4] / "pipelines/occluded_duke/authors.yaml"
SMALL = {
    "model": {
        "backbone": "resnet18_ibn_a",
        "width": 8,
        "strides": [1, 2, 1, 1],
        "bottleneck": 8,
        "feedforward": 12,
        "confidence_hidden": 6,
        "intra_dropout": 0.0,
        "inter_dropout": 0.0,
    },
    "train": {"image_size": list(IMAGE_SIZE), "epochs": 60, "identities": 4, "instances": 2, "backbone_weights": None},
}
STEPS = 2


@pytest.fixture
def authors(tmp_path: Path) -> Params:
    """Their recipe, made small; nothing but sizes and dropout changes."""
    table = read_yaml(AUTHORS)
    for section, changes in SMALL.items():
        assert changes.keys() <= table[section].keys()
        table[section] |= changes
    YAML().dump(table, tmp_path / "params.yaml")
    return load_params(tmp_path / "params.yaml", "pirt").model_copy(update={"seed": 11})


class Float64(DoublePrecision):
    """Float64 throughout; Fabric's own takes outputs back to float32."""

    def convert_output(self, data):
        return data


class EnoughError(Exception):
    """Ends a training once the steps that are compared are done."""


class Recorder(recipe.Listener):
    """Keeps what goes into each step and what comes out."""

    def __init__(self) -> None:
        self.training: recipe.Training | None = None
        self.batches, self.gradients, self.states = [], [], []

    def begins(self, training):
        self.training = training
        self.states.append(self.copied(training.network.state_dict()))

    def waits_for(self, batches):
        for batch in batches:
            self.batches.append(batch)
            yield batch

    def stepped(self, training):
        named = training.network.named_parameters()
        self.gradients.append(self.copied({name: value.grad for name, value in named if value.requires_grad}))
        self.states.append(self.copied(training.network.state_dict()))
        if len(self.gradients) == STEPS:
            raise EnoughError

    @staticmethod
    def copied(named):
        return {name: value.detach().clone() for name, value in named.items()}


@pytest.fixture
def recorded(persons, authors, tmp_path, monkeypatch):
    """Some steps of a training, with the losses that it summed up."""
    losses = []

    def noted(*arguments, **options):
        losses.append(pirt_losses(*arguments, **options))
        return losses[-1]

    pirt_losses = objective.pirt_losses
    monkeypatch.setattr(objective, "pirt_losses", noted)
    monkeypatch.setattr(processes, "_precision", lambda precision, accelerator: Float64())
    recorder = Recorder()
    manifest = read_manifest(persons / "manifest.csv")
    job = recipe.Job(
        params=authors,
        variant="pirt",
        manifest=manifest,
        heatmaps=store_for(persons / "heatmaps.zarr", manifest),
        out=tmp_path / "run",
        device="cpu",
        workers=0,
    )
    with pytest.raises(EnoughError):
        recipe.train(job, recorder)
    return recorder, losses


def near(found, expected, name=""):
    assert found.dtype == torch.float64
    assert (found - expected).abs().max() <= 1e-11, name  # two warm-up steps move a weight by 2e-5 at most


def test_the_batches_are_the_authors_augmentation_of_the_images(recorded, persons, authors):
    recorder, _ = recorded
    dataset, cache = recorder.training.dataset, recorder.training.dataset.cache
    changed = 0
    for step, batch in enumerate(recorder.batches):
        for at, index in enumerate(batch["index"].tolist()):
            row = dataset.rows[index]
            assert batch["label"][at] == sorted({other.pid for other in dataset.rows}).index(row.pid)
            image = np.array(Image.open(persons / row.path))
            seed = (authors.seed, 0, index, step * 8 + at)
            moved, codes = authors_step.augmented(image, cache.codes[index].numpy(), seed, authors.train.augment.pad)
            assert np.abs(authors_step.normalised(moved) - batch["image"][at].numpy()).max() <= 1e-6
            assert torch.equal(cache.table[torch.from_numpy(codes).int()], batch["heatmaps"][at])
            changed += (moved != image).any()
    assert changed == STEPS * 8
    assert codes.shape[1:] == HEATMAP_SIZE


def test_losses_gradients_and_weights_are_the_authors(recorded, authors):
    recorder, losses = recorded
    weights, adam = dict(recorder.states[0]), authors_step.Adam()
    learning = recorder.gradients[0].keys()
    buffers = {name for name in weights if "running" in name or "tracked" in name}
    assert weights.keys() - learning - buffers == {"global_neck.norm.bias", "group_neck.norm.bias"}
    for step, batch in enumerate(recorder.batches):
        for name in learning:
            weights[name] = weights[name].detach().requires_grad_()
        forward = authors_step.Forward(weights)
        expected = forward.losses(batch["image"].double(), batch["heatmaps"].double(), batch["label"].tolist())
        assert losses[step].keys() == expected.keys()
        for name, value in expected.items():
            near(losses[step][name], value, name)
        slopes = torch.autograd.grad(expected["total"], [weights[name] for name in learning])
        gradients = dict(zip(learning, slopes, strict=True))
        for name, value in gradients.items():
            near(recorder.gradients[step][name], value, name)

        rate = authors_step.learning_rate(step, recorder.training.steps_per_epoch)
        weights = adam.stepped({name: value.detach() for name, value in weights.items()}, gradients, step, rate)
        for name, (mean, variance) in forward.seen.items():
            for kind, value in (("mean", mean), ("var", variance)):
                kept = weights[f"{name}.running_{kind}"]
                weights[f"{name}.running_{kind}"] = 0.9 * kept + 0.1 * value
        for name in weights.keys() - {name for name in buffers if name.endswith("tracked")}:
            near(recorder.states[step + 1][name], weights[name], name)
    moved = (weights["backbone.conv1.weight"] - recorder.states[0]["backbone.conv1.weight"]).abs().max()
    assert moved > 1e-6
