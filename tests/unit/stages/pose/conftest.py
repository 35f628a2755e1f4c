from pathlib import Path

import pytest
import torch
from pose_people import INPUT_SIZE, People, TinyNetwork, make_people

from pirt_stages.pose.networks.network import build_network
from pirt_stages.pose.training.small_hrnet import small_hrnet_config


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyNetwork:
    """Save config and checkpoint of a tiny HRNet whose heatmaps are around 0.1."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    config = small_hrnet_config(INPUT_SIZE, channels=4, sigma=1.0)
    network = build_network(config, "tiny")
    torch.nn.init.constant_(network.estimator.head.final_layer.bias, 0.1)
    config.dump(str(folder / "tiny.py"))
    torch.save({"meta": {}, "state_dict": network.estimator.state_dict()}, folder / "tiny.pth")
    return TinyNetwork(folder / "tiny.py", folder / "tiny.pth")


@pytest.fixture
def people(tmp_path: Path) -> People:
    return make_people(tmp_path / "people")
