"""`pirt-export backbone`: what another training starts from."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors import safe_open
from tiny_runs import BASELINE, SMALL, write_run

from pirt.models import load_published
from pirt.models.backbone import build_backbone
from pirt.runs.params import ModelParams, TrainParams
from pirt.runs.run import load_run, weights_sha256
from pirt_stages.export.cli import main

TRAIN = TrainParams(image_size=(64, 32))


def exported(run: Path, out: Path) -> Result:
    return CliRunner().invoke(main, ["backbone", "--run", str(run), "--out", str(out)])


@pytest.mark.parametrize("model", [BASELINE, SMALL], ids=["baseline", "whole"])
def test_another_backbone_starts_from_the_file(model: ModelParams, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", model, TRAIN, (16, 8))
    ended = exported(run, tmp_path / "made/backbone.safetensors")
    assert ended.exit_code == 0, ended.output

    fresh = build_backbone("resnet18_ibn_a", (64, 32), {"width": 4, "strides": [1, 2, 1, 1]})
    assert load_published(fresh, str(tmp_path / "made/backbone.safetensors")) == []
    trained, images = load_run(run)[0].backbone.eval(), torch.rand(2, 3, 64, 32)
    assert torch.equal(fresh.eval()(images), trained(images))


def test_the_file_says_where_it_comes_from_in_the_same_bytes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", BASELINE, TRAIN, (16, 8), seed=3)
    one, two = (tmp_path / f"{name}.safetensors" for name in ("one", "two"))
    assert exported(run, one).exit_code == exported(run, two).exit_code == 0
    assert one.read_bytes() == two.read_bytes()
    with safe_open(one, "pt") as file:
        told = json.loads(file.metadata()["pirt"])
        names = list(file.keys())
    assert "layer4.1.conv2.weight" in names
    assert not [name for name in names if name.startswith(("backbone.", "global_neck"))]
    assert told["run_weights_sha256"] == weights_sha256(run)
    assert (told["manifest_fingerprint"], told["params"]["seed"]) == ("1" * 64, 3)
    assert told["params"]["model"]["width"] == 4


@pytest.mark.parametrize(
    ("run", "out", "said"),
    [
        ("run", "backbone.pth", "name a file that ends in .safetensors"),
        ("elsewhere", "backbone.safetensors", "run.json is missing"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(run: str, out: str, said: str, tmp_path: Path) -> None:
    write_run(tmp_path / "run", BASELINE, TRAIN, (16, 8))
    ended = exported(tmp_path / run, tmp_path / out)
    assert ended.exit_code == 2
    assert said in ended.output
    assert not (tmp_path / out).exists()


def test_weights_that_are_not_the_records_are_refused(tmp_path: Path) -> None:
    run, other = (write_run(tmp_path / name, BASELINE, TRAIN, (16, 8), seed=i) for i, name in enumerate(("run", "b")))
    (run / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    ended = exported(run, tmp_path / "backbone.safetensors")
    assert ended.exit_code == 2
    assert "it was damaged or replaced" in ended.output


def test_only_an_exported_backbone_is_replaced(tmp_path: Path) -> None:
    run, out = write_run(tmp_path / "run", BASELINE, TRAIN, (16, 8)), tmp_path / "mine.safetensors"
    for content in ((run / "model.safetensors").read_bytes(), b"of somebody"):
        out.write_bytes(content)
        ended = exported(run, out)
        assert ended.exit_code == 2
        assert "mine.safetensors is not a backbone that `pirt-export` wrote and would be replaced" in ended.output
        assert out.read_bytes() == content
    out.unlink()
    for _ in range(2):
        assert exported(run, out).exit_code == 0
