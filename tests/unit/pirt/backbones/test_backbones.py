import sys
from pathlib import Path

import pytest
import torch

from pirt.backbone_table import BACKBONES
from pirt.core.errors import ParamsError
from pirt.models import build_pirt
from pirt.models.backbone import Backbone, build_backbone
from pirt.runs.params import load_params

MINE = """
from torch import nn

from pirt.models.backbone import Backbone


class Mine(Backbone):
    def __init__(self, channels):
        super().__init__()
        self.feature_channels = channels
        self.conv = nn.Conv2d(3, channels, 8, stride=8)

    def forward(self, images):
        return self.conv(images)


def mine(width):
    return Mine(width * 2)
"""


@pytest.mark.parametrize("name", BACKBONES)
def test_every_line_of_the_table_names_a_function_that_builds_a_backbone(name: str) -> None:
    with torch.device("meta"):
        network = build_backbone(name, (64, 32), {})
        features = network(torch.empty(2, 3, 64, 32))
    assert isinstance(network, Backbone)
    assert features.shape == (2, network.feature_channels, *network.grid((64, 32)))
    assert all(0 <= network.layer_of(parameter) <= network.last_layer for parameter, _ in network.named_parameters())


def test_a_file_and_a_line_make_a_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "backbone_of_a_test.py").write_text(MINE)
    (tmp_path / "params.yaml").write_text("model: {backbone: mine, width: 16, inter_layers: 1}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(BACKBONES, "mine", "backbone_of_a_test")
    params = load_params(tmp_path / "params.yaml").model
    assert "backbone_of_a_test" not in sys.modules, "reading parameters imports no backbone"
    model = build_pirt(3, **params.model_dump()).eval()
    assert type(model.backbone).__name__ == "Mine"
    found = model(torch.randn(2, 3, 64, 32), torch.rand(2, 17, 16, 8))
    assert found["stripe"].shape == (2, 32)
    assert found["groups"].shape == (2, 3, 32)


def test_a_name_that_no_line_has_is_refused_where_it_is_read_and_where_it_is_built(tmp_path: Path) -> None:
    message = "unknown backbone 'vgg'; expected one of resnet18_ibn_a, "
    (tmp_path / "params.yaml").write_text("model: {backbone: vgg}\n")
    with pytest.raises(ParamsError, match=f"params.yaml: model.backbone: {message}"):
        load_params(tmp_path / "params.yaml")
    with pytest.raises(ParamsError, match=message):
        build_pirt(3, backbone="vgg")
