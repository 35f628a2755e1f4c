"""What docs/api.md shows, run from a folder with a tiny run, a tiny network and some people."""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from pose_people import INPUT_SIZE, People, TinyNetwork, make_people

import pirt
from pirt.core.manifest import ImageRow, Split, write_manifest
from pirt.heatmaps.reader import open_store
from pirt.models import build_pirt
from pirt.runs.params import ModelParams, Params, TrainParams
from pirt.runs.run import RunRecord, save_run
from pirt_stages.pose.cli import main

ROOT = Path(__file__).parents[4]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)
TINY = ModelParams(
    backbone="resnet18_ibn_a", width=4, strides=(1, 2, 1, 1), bottleneck=8, feedforward=8, inter_layers=1
)


def write_run(folder: Path) -> None:
    torch.manual_seed(0)
    params = Params(model=TINY, train=TrainParams(image_size=INPUT_SIZE))
    record = RunRecord(
        num_classes=3,
        manifest_fingerprint="1" * 64,
        heatmaps_fingerprint="2" * 64,
        heatmap_size=(INPUT_SIZE[0] // 4, INPUT_SIZE[1] // 4),
        params=params,
    )
    save_run(folder, build_pirt(3, **TINY.model_dump()), record)


def labelled(people: People, splits: Sequence[str]) -> list[ImageRow]:
    rows = [replace(row, split=cast(Split, split)) for row, split in zip(people.manifest.rows, splits, strict=True)]
    return [replace(row, camid=1 + (row.split == "gallery")) for row in rows]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, tiny: TinyNetwork) -> Path:
    """A folder with run, people, pose/config.py, pose/checkpoint.pth, manifest.csv and heatmaps.zarr."""
    folder = tmp_path_factory.mktemp("workplace")
    write_run(folder / "run")
    people = make_people(folder / "made")
    shutil.copytree(people.manifest.root, folder / "people")
    write_manifest(folder / "manifest.csv", labelled(people, ["query", "gallery"] * 6), folder / "people")
    (folder / "pose").mkdir()
    shutil.copy(tiny.config, folder / "pose" / "config.py")
    shutil.copy(tiny.checkpoint, folder / "pose" / "checkpoint.pth")
    network = ("--config", folder / "pose" / "config.py", "--checkpoint", folder / "pose" / "checkpoint.pth")
    to = ("--manifest", folder / "manifest.csv", "--out", folder / "heatmaps.zarr", "--codec", "float32")
    extracting = ["extract", *network, *to, "--input-size", *INPUT_SIZE, "--device", "cpu"]
    ended = CliRunner().invoke(main, [str(argument) for argument in extracting])
    assert ended.exit_code == 0, ended.output
    return folder


def test_the_page_runs_as_it_stands(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workplace)
    assert len(BLOCKS[0].split("\n\n", 1)[1].splitlines()) <= 10, "ten lines"
    names: dict[str, object] = {}
    for block in BLOCKS:
        exec(block, names)
    assert np.shape(names["matrix"]) == (2, 10)
    with Image.open("found.png") as picture:
        assert picture.height > 2 * 128
    assert re.search(r"mAP \d+\.\d%, rank-1 \d+\.\d%, hardest query train/\d{4}\.png", capsys.readouterr().out)


def test_heatmaps_on_the_fly_are_those_of_the_store(workplace: Path) -> None:
    config, checkpoint = str(workplace / "pose" / "config.py"), str(workplace / "pose" / "checkpoint.pth")
    manifest = pirt.read_manifest(workplace / "manifest.csv")
    live = pirt.live_heatmaps(config, checkpoint, input_size=INPUT_SIZE)
    made = live([manifest.image_path(row) for row in manifest.rows])
    np.testing.assert_allclose(made, open_store(workplace / "heatmaps.zarr").read(slice(None)), atol=1e-6)
    assert 0 < made.max() <= 1


@pytest.mark.slow
def test_without_the_pose_extra_the_message_says_what_to_do(workplace: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['mmengine'] = None\n"
        "import pirt\n"
        "try:\n"
        "    pirt.live_heatmaps('a', 'b')\n"
        "except pirt.PirtError as error:\n"
        "    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "heatmaps on the fly need mmengine: install Pirt with its pose extra" in said
