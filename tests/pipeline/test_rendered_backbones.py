"""A small ResNet, ViT and Swin on rendered pedestrians: trained, evaluated, exported, drawn, and in one table."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from program_table import PROGRAMS
from ruamel.yaml import YAML
from tiny_stores import write_store

from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.manifest import read_manifest
from pirt.core.params import read_yaml
from pirt.runs.params import load_params
from pirt.runs.run import build_model

ROOT = Path(__file__).parents[2]
PARAMS = ROOT / "pipelines/rendered_backbones/params.yaml"
VARIANTS = list(read_yaml(PARAMS)["variants"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_row_builds_with_parts_on_one_grid(variant: str) -> None:
    params = load_params(PARAMS, variant)
    model = build_model(2, params)
    rows, columns = model.backbone.grid(params.train.image_size)
    assert (rows * params.model.refine, columns * params.model.refine) == (16, 8)


def test_each_backbone_has_a_baseline_and_the_whole_model() -> None:
    models = {variant: load_params(PARAMS, variant).model for variant in VARIANTS}
    for family in ("resnet", "vit", "swin"):
        baseline, pirt = models[f"{family}-baseline"], models[f"{family}-pirt"]
        assert not baseline.parts
        rows = {"parts": True, "intra": True, "inter_layers": 3}
        assert baseline.model_copy(update=rows) == pirt


def typed(*words: object) -> Result:
    result = CliRunner().invoke(PROGRAMS[str(words[0])], [str(word) for word in words[1:]])
    assert result.exit_code == 0, (words, result.output, result.exception)
    return result


def peaks(count: int) -> NDArray[np.float32]:
    """A peak for each keypoint, from head to feet."""
    heatmaps = np.zeros((count, len(COCO_KEYPOINTS), 32, 16), np.float32)
    for keypoint in range(len(COCO_KEYPOINTS)):
        heatmaps[:, keypoint, 1 + 30 * keypoint // len(COCO_KEYPOINTS), 4 + keypoint % 8] = 0.9
    return heatmaps


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_rows_run_to_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIRT_DEVICE", "cpu")
    monkeypatch.setenv("PIRT_WORKERS", "0")
    yaml, table = YAML(), read_yaml(PARAMS)
    table["train"] |= {"epochs": 1, "warmup_epochs": 0}
    yaml.dump(table, Path("params.yaml"))
    typed("pirt-data", "synthesize", "--profile", "smoke", "--out", "data")
    typed("pirt-data", "import", "data", "--layout", "market1501", "--out", "manifest.csv")
    write_store(Path("heatmaps.zarr"), read_manifest(Path("manifest.csv")), ((128, 64), (32, 16)), peaks)
    given = ("--manifest", "manifest.csv", "--heatmaps", "heatmaps.zarr")
    for variant in VARIANTS:
        chosen = ("--params", "params.yaml", "--variant", variant, "--seed", 0)
        typed("pirt-train", *chosen, *given, "--out", f"train/{variant}")
        typed("pirt-eval", "--run", f"train/{variant}", *given, "--out", f"evaluate/{variant}")
        if variant.endswith("pirt"):
            typed("pirt-export", "onnx", "--run", f"train/{variant}", "--out", f"{variant}.onnx")
    ours = ("--params", "params.yaml", "--out", "report")
    typed("pirt-report", "figures", "--runs", "train", "--evaluations", "evaluate", *given, *ours)
    typed("pirt-report", "tables", "--metrics", "evaluate", *ours)
    typed("pirt-report", "html", "report")
    lines = Path("report/tables/table6.csv").read_text().splitlines()
    backbones = ["resnet18_ibn_a", "swin_tiny", "vit_small"]
    assert [line.split(",")[1] for line in lines[1:]] == [name for name in backbones for _ in range(2)]
    drawn = {path.name for path in Path("report/figures").iterdir()}
    of_each = {f"{kind}-{name}.png" for kind in ("activations", "curves", "ranks") for name in backbones}
    assert drawn == {"heatmaps.png", "data.json"} | of_each
    page = Path("report/report.html").read_text()
    assert page.count("mean over the channels of F_irm. On ") == 2 * len(backbones), "as text and as alternative"
