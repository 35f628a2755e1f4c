"""The weights in Git that the demo starts from."""

from pathlib import Path

import pytest

from pirt.core.params import read_yaml
from pirt.core.weights import read_weights
from pirt.models import load_published
from pirt.runs.params import load_params
from pirt.runs.run import build_model
from pirt_stages.pose.training.params import load_train_params

ROOT = Path(__file__).parents[2]
PRETRAINING = ROOT / "pipelines/pretraining"


def test_the_demos_backbone_starts_from_the_pretrainings() -> None:
    for variant in read_yaml(ROOT / "params.yaml")["variants"]:
        params = load_params(ROOT / "params.yaml", variant)
        assert params.train.backbone_weights == "pipelines/pretraining/runs/backbone.safetensors"
        assert load_published(build_model(2, params).backbone, str(ROOT / params.train.backbone_weights)) == []
    trained = load_params(PRETRAINING / "params.yaml", "baseline")
    assert trained.train.image_size == params.train.image_size


def test_the_demos_pose_network_starts_from_the_pretrainings() -> None:
    demo, trained = (load_train_params(folder / "params.yaml") for folder in (ROOT, PRETRAINING))
    assert demo.init_from == "pipelines/pretraining/runs/pose/checkpoint.pth"
    network = {"channels", "input_size", "sigma"}
    assert demo.model_dump(include=network) == trained.model_dump(include=network)


@pytest.mark.parametrize("name", ["backbone.safetensors", "pose/checkpoint.pth"])
def test_the_files_are_small_weights(name: str) -> None:
    path = PRETRAINING / "runs" / name
    assert path.stat().st_size < 3.1e6
    assert read_weights(path)
