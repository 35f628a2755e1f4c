"""Adapting re-estimates the batch norms' statistics over all training images, and nothing else."""

from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from pose_people import INPUT_SIZE, People, TinyNetwork
from torch import Tensor, nn

from pirt.core.errors import CheckpointError, DataError, ParamsError, PirtError
from pirt.core.files import sha256_of
from pirt.core.images import read_image
from pirt.core.manifest import Manifest, write_manifest
from pirt.heatmaps.reader import open_store
from pirt_stages.pose.adaptation.adapt import AdaptOptions, adapt
from pirt_stages.pose.adaptation.statistics import normalising_by_batch, write_statistics
from pirt_stages.pose.cli import main
from pirt_stages.pose.extraction.params import ExtractParams
from pirt_stages.pose.networks.network import build_network, read_config

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture
def options() -> AdaptOptions:
    return AdaptOptions(skip_bad=False, workers=2, device="cpu")


@pytest.fixture
def params(tiny: TinyNetwork) -> ExtractParams:
    return ExtractParams(config=str(tiny.config), checkpoint=str(tiny.checkpoint), input_size=INPUT_SIZE, batch_size=4)


def state_of(path: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return state


def split_as(people: People, folder: Path, test: int) -> Manifest:
    """Put the last `test` images into the gallery."""
    rows = people.manifest.rows
    changed = [replace(row, split="gallery" if i >= len(rows) - test else "train") for i, row in enumerate(rows)]
    return write_manifest(folder / "split.csv", changed, people.manifest.root)


class Normalised(nn.Module):
    """A batch norm that runs twice, behind one that sees the input; and one that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice, self.never = nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        return self.twice(self.twice(self.dropout(self.first(images))) * 2 + 1)


def normalise(values: Tensor) -> Tensor:
    mean, variance = values.mean((0, 2, 3), keepdim=True), values.var((0, 2, 3), unbiased=False, keepdim=True)
    return (values - mean) / (variance + 1e-5).sqrt()


def test_statistics_are_those_of_all_values_by_a_plain_loop() -> None:
    batches = [torch.rand(count, 3, 5, 4, dtype=torch.float64) * 9 + count for count in (2, 3, 7)]
    network = Normalised().double()
    moments_of = normalising_by_batch(network)
    found = [moments_of(batch) for batch in batches]
    total = {name: found[0][name] + found[1][name] + found[2][name] for name in found[0]}
    fresh = Normalised().double()
    write_statistics(fresh, total, batches=3)
    seen_first = torch.cat(batches)
    seen_twice = []
    for batch in batches:
        first = normalise(batch)
        seen_twice += [first, normalise(first) * 2 + 1]
    for norm, values in ((fresh.first, seen_first), (fresh.twice, torch.cat(seen_twice))):
        columns = values.transpose(0, 1).flatten(1)
        assert torch.allclose(norm.running_mean, columns.mean(1), atol=1e-12)
        assert torch.allclose(norm.running_var, columns.var(1), atol=1e-12)
    assert torch.equal(fresh.never.running_var, torch.ones(3, dtype=torch.float64))
    assert (fresh.first.num_batches_tracked, fresh.never.num_batches_tracked) == (3, 0)


def test_a_network_without_batch_norm_is_refused() -> None:
    with pytest.raises(CheckpointError, match="has no batch norm"):
        normalising_by_batch(nn.Conv2d(3, 3, 1))


def test_only_statistics_change_and_they_are_the_training_images(
    people: People, tiny: TinyNetwork, params: ExtractParams, options: AdaptOptions, tmp_path: Path
) -> None:
    manifest = split_as(people, tmp_path, test=3)
    adapt(manifest, tmp_path / "adapted.pth", params, options)
    before, after = state_of(tiny.checkpoint), state_of(tmp_path / "adapted.pth")
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(value, after[name]) != name.endswith(STATISTICS), name
    network = build_network(read_config(str(tiny.config)), "tiny")
    network.estimator.load_state_dict(before)
    images = []
    for row in manifest.split("train"):
        stretched = read_image(manifest.image_path(row)).resize(INPUT_SIZE[::-1], 3)
        images.append(torch.from_numpy(np.asarray(stretched).copy()).permute(2, 0, 1))
    with torch.no_grad():
        values = network.estimator.backbone.conv1(network.normalised(torch.stack(images))).transpose(0, 1).flatten(1)
    assert torch.allclose(after["backbone.bn1.running_mean"], values.mean(1), atol=1e-5)
    assert torch.allclose(after["backbone.bn1.running_var"], values.var(1), rtol=1e-4)


@pytest.mark.slow
def test_any_number_of_threads_gives_the_same_bytes_and_other_images_others(
    people: People, params: ExtractParams, options: AdaptOptions, tmp_path: Path
) -> None:
    threads = torch.get_num_threads()
    try:
        for name, count in (("one", 1), ("three", 3)):
            torch.set_num_threads(count)
            adapt(people.manifest, tmp_path / name, params, replace(options, workers=count))
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "three").read_bytes()
    adapt(split_as(people, tmp_path, test=2), tmp_path / "fewer", params, options)
    assert (tmp_path / "one").read_bytes() != (tmp_path / "fewer").read_bytes()


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(word) for word in words])
    return done.exit_code, done.output


def test_the_checkpoint_names_its_origin_and_extraction_and_verify_take_it(
    people: People, tiny: TinyNetwork, tmp_path: Path
) -> None:
    adapted, store = tmp_path / "adapted.pth", tmp_path / "h.zarr"
    shared = ["--manifest", people.manifest_path, "--config", tiny.config]
    sized = ["--input-size", *INPUT_SIZE]
    code, said = run("adapt", *shared, *sized, "--checkpoint", tiny.checkpoint, "--out", adapted)
    assert code == 0, said
    assert f"batch norms over 12 images, 0 skipped, SHA-256 {sha256_of(adapted)}" in said
    meta = torch.load(adapted, weights_only=True)["meta"]
    assert meta["adapted_from"] == {"network": "tiny", "weights_sha256": sha256_of(tiny.checkpoint)}
    assert meta["adapted_on"] == {"manifest_fingerprint": people.manifest.fingerprint, "images": 12}
    code, said = run("extract", *shared, *sized, "--checkpoint", adapted, "--out", store)
    assert code == 0, said
    assert open_store(store).attributes.weights_sha256 == sha256_of(adapted)
    code, said = run("verify", store, *shared, "--checkpoint", adapted, "--sample", 12)
    assert (code, "12 images recomputed to the same heatmaps" in said) == (0, True), said
    code, said = run("verify", store, *shared, "--checkpoint", tiny.checkpoint, "--sample", 12)
    assert (code, "is not the one that made" in said) == (2, True), said
    bad = people.manifest.rows[0]
    people.manifest.image_path(bad).write_bytes(b"")
    code, said = run("adapt", *shared, *sized, "--checkpoint", tiny.checkpoint, "--out", adapted, "--skip-bad")
    assert (code, f"  skipped {bad.key}: " in said, "over 11 images, 1 skipped, " in said) == (0, True, True), said


def test_bad_input_is_refused_and_leaves_what_was_there(
    people: People, params: ExtractParams, options: AdaptOptions, tmp_path: Path
) -> None:
    out = tmp_path / "adapted.pth"
    torch.save({"state_dict": {}}, out)
    there = out.read_bytes()
    first = people.manifest.image_path(people.manifest.rows[0])
    first.write_bytes(b"")
    refused: list[tuple[Manifest, AdaptOptions, type[PirtError], str]] = [
        (people.manifest, options, DataError, "1 images cannot be used"),
        (split_as(people, tmp_path, test=11), replace(options, skip_bad=True), DataError, "none of the 1 images"),
        (split_as(people, tmp_path, test=10), replace(options, skip_bad=True), DataError, "statistics need two"),
        (split_as(people, tmp_path, test=12), options, PirtError, "has no 'train' image"),
    ]
    for manifest, how, error, said in refused:
        with pytest.raises(error, match=said):
            adapt(manifest, out, params, how)
    with pytest.raises(ParamsError, match="a batch of one image has no statistics"):
        adapt(people.manifest, out, params.model_copy(update={"batch_size": 1}), options)
    assert out.read_bytes() == there
    (tmp_path / "base.py").write_text("model = dict()")
    with pytest.raises(PirtError, match=r"base\.py is not a checkpoint and would be replaced"):
        adapt(people.manifest, tmp_path / "base.py", params, options)
    assert (tmp_path / "base.py").read_text() == "model = dict()"
    # A checkpoint is a zip, but not every zip is one.
    with ZipFile(tmp_path / "people.zip", "w") as packed:
        packed.writestr("people/1.jpg", b"a picture")
    with pytest.raises(PirtError, match=r"people\.zip is not a checkpoint and would be replaced"):
        adapt(people.manifest, tmp_path / "people.zip", params, options)
    for source in (params.config, params.checkpoint):
        before = Path(str(source)).read_bytes()
        with pytest.raises(PirtError, match="is read by this command and would be replaced"):
            adapt(people.manifest, Path(str(source)), params, options)
        assert Path(str(source)).read_bytes() == before
    assert adapt(people.manifest, out, params, replace(options, skip_bad=True)).images == 11
