import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from tiny_persons import training_arguments

from pirt.backbone_table import BACKBONES
from pirt.core.errors import ParamsError
from pirt.core.sizes import without_memory
from pirt.models import build_pirt
from pirt.models.backbone import Backbone, build_backbone
from pirt.runs.params import load_params
from pirt.runs.run import load_run
from pirt_stages.train.cli import main as train

ONE = torch.ones(1)
ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("name", BACKBONES)
def test_every_line_of_the_table_names_a_function_that_builds_a_backbone(name: str) -> None:
    with without_memory():
        network = build_backbone(name, (64, 32), {})
    with torch.device("meta"):
        features = network(torch.empty(2, 3, 64, 32))
    assert isinstance(network, Backbone)
    assert features.shape == (2, network.feature_channels, *network.grid((64, 32)))
    assert all(0 <= network.layer_of(parameter) <= network.last_layer for parameter, _ in network.named_parameters())


def the_example() -> str:
    """The file that CONTRIBUTING shows."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return textwrap.dedent(text[text.index("  ```python\n") :].split("```")[1].removeprefix("python\n"))


def test_what_contributing_shows_and_a_line_make_a_backbone(
    persons: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "backbone_of_a_test.py").write_text(the_example())
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(BACKBONES, "mine", "backbone_of_a_test")
    chosen = "backbone: resnet18_ibn_a\n  width: 8\n  strides: [1, 2, 1, 1]"
    text = (persons / "params.yaml").read_text()
    assert chosen in text
    weights = tmp_path / "weights.pth"
    torch.save({"conv.weight": torch.zeros(256, 3, 16, 16), "conv.bias": torch.ones(256), "head.bias": ONE}, weights)
    recipe = f"train:\n  layer_decay: 0.5\n  backbone_weights: {weights}\n"
    text = text.replace(chosen, "backbone: mine").replace("train:\n", recipe).replace("epochs: 3", "epochs: 1")
    (tmp_path / "params.yaml").write_text(text.replace("cosine_from_epoch: 2", "cosine_from_epoch: 1"))
    load_params(tmp_path / "params.yaml")
    assert "backbone_of_a_test" not in sys.modules, "reading parameters imports no backbone"
    arguments = training_arguments(persons, tmp_path / "run")
    arguments[1] = str(tmp_path / "params.yaml")
    ended = CliRunner().invoke(train, arguments)
    assert ended.exit_code == 0, ended.output
    assert "left out head.bias" in ended.output
    model = load_run(tmp_path / "run")[0]
    assert type(model.backbone).__name__ == "Mine"
    # Trained a little from what the file holds.
    assert 0 < (model.backbone.state_dict()["conv.bias"] - 1).abs().max() < 0.1
    found = model(torch.randn(2, 3, 64, 32), torch.rand(2, 17, 16, 8))
    assert found["stripe"].shape == (2, 256)


@pytest.mark.slow
def test_what_contributing_shows_passes_lint(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(the_example())
    for tool in (("ruff", "check"), ("ruff", "format", "--check"), ("mypy",)):
        config = f"--config{'-file' * (tool[0] == 'mypy')}={ROOT / 'pyproject.toml'}"
        command = [sys.executable, "-m", *tool, config, str(file)]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert said.returncode == 0, said.stdout


def test_a_name_that_no_line_has_is_refused_where_it_is_read_and_where_it_is_built(tmp_path: Path) -> None:
    message = "unknown backbone 'vgg'; expected one of resnet18_ibn_a, "
    (tmp_path / "params.yaml").write_text("model: {backbone: vgg}\n")
    with pytest.raises(ParamsError, match=f"params.yaml: model.backbone: {message}"):
        load_params(tmp_path / "params.yaml")
    with pytest.raises(ParamsError, match=message):
        build_pirt(3, backbone="vgg")
