"""Pose networks load from the files that their authors published, in those files' own names."""

import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pirt.core.errors import CheckpointError
from pirt_stages.pose.networks.checkpoints import find_checkpoint, load_checkpoint
from pirt_stages.pose.networks.network import build_network, read_config
from pirt_stages.pose.networks.openmmlab import Config

HRNET = "td-hm_hrnet-w48_8xb32-210e_coco-256x192"
SIMPLE_BASELINE = "td-hm_res50_8xb64-210e_coco-256x192"


def narrow(name: str) -> Config:
    """Return a published config with few channels, whose layers have the published names."""
    config = read_config(name)
    extra = config.model.backbone.get("extra") or {}
    for stage in ("stage2", "stage3", "stage4"):
        if stage in extra:
            extra[stage].num_channels = tuple(4 * 2**branch for branch in range(extra[stage].num_branches))
            config.model.head.in_channels = 4
    if config.model.backbone.type == "ResNet":
        config.model.backbone.base_channels = 2
        config.model.head.update(in_channels=64, deconv_out_channels=(4, 4, 4))
    return config


def weights_of(config: Config, name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    torch.manual_seed(0)
    estimator = build_network(config, name).estimator
    return estimator, {
        key: torch.rand_like(value.float()).to(value.dtype) for key, value in estimator.state_dict().items()
    }


def authors_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """HRNet's and SimpleBaseline's own releases: one network, no parts."""
    return {key.removeprefix("backbone.").removeprefix("head."): value for key, value in weights.items()}


def mmpose_0(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.replace("head.", "keypoint_head.", 1): value for key, value in weights.items()}


@pytest.mark.parametrize(
    "name",
    [pytest.param(HRNET, id="HRNet", marks=pytest.mark.slow), pytest.param(SIMPLE_BASELINE, id="SimpleBaseline")],
)
def test_all_published_names_load_to_the_same_network(tmp_path: Path, name: str) -> None:
    config = narrow(name)
    estimator, weights = weights_of(config, name)
    published = authors_names(weights)
    assert {"conv1.weight", "bn1.running_var", "final_layer.bias"} <= published.keys()
    assert not any(key.startswith(("backbone", "head")) for key in published)
    parallel = {f"module.{key}": value for key, value in published.items()}
    for table in (weights, published, mmpose_0(weights), {"state_dict": mmpose_0(weights), "meta": {}}, parallel):
        for value in estimator.state_dict().values():
            value.zero_()
        torch.save(table, tmp_path / "pose_hrnet_w48_256x192.pth")
        load_checkpoint(estimator, tmp_path / "pose_hrnet_w48_256x192.pth", name)
        loaded = estimator.state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in weights.items())


def test_published_names_of_another_width_are_refused(tmp_path: Path) -> None:
    config = narrow(HRNET)
    estimator, weights = weights_of(config, HRNET)
    published = authors_names(weights)
    published["conv1.weight"] = torch.rand(8, 3, 3, 3)
    torch.save(published, tmp_path / "pose_hrnet_w48_256x192.pth")
    with pytest.raises(CheckpointError, match=r"size mismatch for backbone\.conv1\.weight"):
        load_checkpoint(estimator, tmp_path / "pose_hrnet_w48_256x192.pth", HRNET)


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"head.weight": torch.ones(3, 3), "head.bias": torch.ones(2)}, r"size mismatch for head\.weight"),
        ({"head.weight": torch.ones(2, 2)}, r"lacks 1 weights, such as head\.bias"),
        (
            {"head.weight": torch.ones(2, 2), "head.bias": torch.ones(2), "more": torch.ones(1)},
            "has besides 1 weights, such as more",
        ),
    ],
)
def test_another_architecture_is_refused(tmp_path: Path, weights: dict[str, Tensor], said: str) -> None:
    torch.save({"state_dict": weights}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(Parts(), tmp_path / "other.pth", "linear")


def test_a_file_here_is_checked_by_the_hash_in_its_name(tmp_path: Path) -> None:
    digits = hashlib.sha256(b"weights").hexdigest()[:8]
    for name in (f"net-{digits}_20220913.pth", "net-00000000_20220913.pth", "mine.pth"):
        (tmp_path / name).write_bytes(b"weights")
    assert find_checkpoint(str(tmp_path / f"net-{digits}_20220913.pth")).read_bytes() == b"weights"
    assert find_checkpoint(str(tmp_path / "mine.pth")).read_bytes() == b"weights"
    with pytest.raises(CheckpointError, match="does not begin with 00000000"):
        find_checkpoint(str(tmp_path / "net-00000000_20220913.pth"))
