import pytest
import torch

from pirt.core.errors import CheckpointError
from pirt.core.files import sha256_of
from pirt.core.sealed import sealed
from pirt.models import build_pirt
from pirt.runs.params import ModelParams, Params
from pirt.runs.run import RunRecord, load_run, read_record, save_run, weights_sha256, write_record

SMALL = ModelParams(
    backbone="resnet18_ibn_a", width=8, strides=(1, 2, 1, 1), inter_layers=1, bottleneck=8, feedforward=8
)


@pytest.fixture
def record():
    return RunRecord(
        variant="pirt",
        num_classes=5,
        manifest_fingerprint="m",
        heatmaps_fingerprint="h",
        heatmap_size=(16, 8),
        params=Params(model=SMALL),
    )


@pytest.fixture
def run(tmp_path, record):
    save_run(tmp_path / "run", build_pirt(5, **SMALL.model_dump()), record)
    return tmp_path / "run"


def test_a_run_comes_back_as_it_was_saved(tmp_path, record):
    torch.manual_seed(0)
    model = build_pirt(5, **SMALL.model_dump())
    save_run(tmp_path / "run", model, record)
    loaded, theirs = load_run(tmp_path / "run")
    assert theirs.training() == record.training()
    assert theirs.weights_sha256 == sha256_of(tmp_path / "run" / "model.safetensors")
    assert not loaded.training
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())


def test_the_files_are_as_readable_as_any(run, tmp_path):
    (tmp_path / "any").touch()
    assert {file.stat().st_mode for file in run.iterdir()} == {(tmp_path / "any").stat().st_mode}


def test_saving_twice_leaves_the_same_bytes(tmp_path, record):
    model = build_pirt(5, **SMALL.model_dump())
    for name in ("one", "two"):
        save_run(tmp_path / name, model, record)
    for file in ("model.safetensors", "run.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert weights_sha256(tmp_path / "one") == weights_sha256(tmp_path / "two")


@pytest.mark.parametrize("file", ["model.safetensors", "run.json"])
def test_an_unfinished_run_is_named(run, file):
    (run / file).unlink()
    for read in (load_run, weights_sha256):
        with pytest.raises(CheckpointError, match=f"run is not a finished run: {file} is missing"):
            read(run)


def test_damaged_weights_are_named(run):
    weights = (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is not the file that run\.json records"):
        load_run(run)


@pytest.mark.parametrize("place", [-1, 20_000])
def test_a_flipped_byte_of_the_weights_is_noticed(run, place):
    weights = bytearray((run / "model.safetensors").read_bytes())
    weights[place] ^= 1
    (run / "model.safetensors").write_bytes(weights)
    for read in (load_run, weights_sha256):
        with pytest.raises(CheckpointError, match="it was damaged or replaced; restore it"):
            read(run)


def test_an_edited_record_is_noticed(run):
    text = (run / "run.json").read_text()
    assert '"tau": 0.001' in text
    (run / "run.json").write_text(text.replace('"tau": 0.001', '"tau": 0.002'))
    with pytest.raises(CheckpointError, match="its content is not what was written"):
        load_run(run)


@pytest.mark.parametrize("text", ["", "{}", '{"format_version": 2}', "\x00"])
def test_a_damaged_record_is_named(run, text):
    (run / "run.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"run\.json cannot be read: "):
        load_run(run)


def test_a_record_of_another_version_is_named(run):
    (run / "run.json").write_text(sealed({"format_version": 99}))
    with pytest.raises(CheckpointError, match=r"run\.json is not a record of this version: format_version = 99"):
        load_run(run)


def test_weights_of_another_architecture_are_named(run, record):
    record = read_record(run)
    other = record.model_copy(update={"params": Params(model=SMALL.model_copy(update={"intra": False}))})
    write_record(run, other)
    with pytest.raises(CheckpointError, match=r"another architecture, \d+ differences: intra\..* is unexpected"):
        load_run(run)
    wider = record.model_copy(update={"num_classes": 6})
    write_record(run, wider)
    with pytest.raises(CheckpointError, match=r"global_neck.classifier is \(2, 5, 64\), expected \(2, 6, 64\)"):
        load_run(run)


def test_a_run_whose_weights_are_not_finite_is_refused(tmp_path, record):
    model = build_pirt(5, **SMALL.model_dump())
    model.backbone.conv1.weight.data[0, 0, 0, 0] = torch.nan
    save_run(tmp_path / "run", model, record)
    with pytest.raises(CheckpointError, match=r"NaN or infinity in backbone\.conv1\.weight"):
        load_run(tmp_path / "run")
