"""Every example in the programs' help, typed one after the other in a folder that has what they name."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from program_table import PROGRAMS, commands, examples

PARAMS = """\
seeds: [0]
pose:
  train: {epochs: 2, channels: 4, batch_size: 16, input_size: [128, 64]}
  extract:
    config: runs/pose/config.py
    checkpoint: runs/pose/checkpoint.pth
model:
  backbone: resnet18_ibn_a
  width: 4
  strides: [1, 2, 1, 1]
  bottleneck: 8
  feedforward: 16
  confidence_hidden: 8
variants:
  pirt: {inter_layers: 1}
train: {image_size: [128, 64], epochs: 1, identities: 4, instances: 2, warmup_epochs: 0}
report: {benchmark: rendered pedestrians}
"""
ORDER = ("pirt-data", "pirt-pose", "pirt-train", "pirt-eval", "pirt-search", "pirt-export", "pirt-report")


def typed(*words: str) -> Result:
    result = CliRunner().invoke(PROGRAMS[words[0]], words[1:], prog_name=words[0])
    assert result.exit_code == 0, (words, result.output, result.exception)
    # What a terminal would draw over and over would fill a log.
    assert "\r" not in result.output, words
    assert "it/s" not in result.output, words
    return result


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_examples_run_and_draw_no_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mmpose")
    assert set(PROGRAMS) == set(ORDER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIRT_DEVICE", "cpu")
    monkeypatch.setenv("PIRT_WORKERS", "0")
    Path("params.yaml").write_text(PARAMS)
    for name in ("market1501", "occluded_dukemtmc"):
        typed("pirt-data", "standin", name, "--one-pixel", "--out", f"{name}.standin")
    shutil.make_archive("Market-1501-v15.09.15", "zip", "market1501.standin")
    shutil.copytree("market1501.standin/Market-1501-v15.09.15/query", "pictures")
    for image in Path("market1501.standin/Market-1501-v15.09.15/bounding_box_train").glob("*.jpg"):
        person, camera = image.name.split("_")[:2]
        folder = Path("people", person, camera[:2])
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, folder)
    for name in ("DukeMTMC-reID", "Occluded_Duke"):
        shutil.copytree(f"occluded_dukemtmc.standin/{name}", name)
    lines = {words: examples(command) for words, command in commands()}
    for program in ORDER:
        for words in [words for words in lines if words[0] == program]:
            if words[-1] == "join":
                for name in ("market1501", "dukemtmc_reid"):
                    report = ("--metrics", "runs/evaluate", "--out", f"{name}/report")
                    typed("pirt-report", "tables", "--benchmark", name, "--stand-in", *report)
            for line in lines[words]:
                # torchrun wants as many GPUs as the example says.
                if line[0] != "torchrun":
                    typed(*line)
