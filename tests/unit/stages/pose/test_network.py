"""Networks give what MMPose gives, and those without heatmaps are refused by name."""

import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mkl_functions import MklFunctions
from PIL import Image
from pose_people import TinyNetwork
from torch import nn

from pirt.core.errors import ParamsError, PirtError
from pirt_stages.pose.extraction.inference import (
    NetworkSource,
    find_geometry,
    find_network,
    load_network,
    loaded,
    prepared,
    spanning_heatmaps,
)
from pirt_stages.pose.networks.network import build_network, inference_steps, read_config

W32 = "td-hm_hrnet-w32_8xb64-210e_coco-256x192"
LITE = "td-hm_litehrnet-18_8xb64-210e_coco-256x192"
RES50 = "td-hm_res50_8xb64-210e_coco-256x192"
PHOTOGRAPHS = [(640, 480), (480, 640), (64, 128), (1, 1), (333, 777)]


def _saved(config: str, folder: Path) -> NetworkSource:
    """Save random weights of `config`, batch norms included, as an MMPose checkpoint."""
    torch.manual_seed(0)
    network = build_network(read_config(config), config)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.normal_(layer.running_mean, 0, 0.1)
            nn.init.uniform_(layer.weight, 0.5, 1.0)
    torch.save({"meta": {}, "state_dict": network.estimator.state_dict()}, folder / "w.pth")
    return find_network(config, str(folder / "w.pth"), "float32", "cpu", flip_test=False)


def _mmpose(source: NetworkSource, flip_test: bool = False) -> Any:
    """Build the same network by MMPose's own front door."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mmpose.apis import init_model

        config = read_config(source.config)
        config.model.test_cfg = {**config.model.test_cfg, "flip_test": flip_test, "output_heatmaps": True}
        return init_model(config, str(source.checkpoint), device="cpu")


def _photograph(size: tuple[int, int]) -> Image.Image:
    coarse = np.random.default_rng(sum(size)).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def _by_mmpose(model: Any, image: Image.Image) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mmpose.apis import inference_topdown

        bgr = np.asarray(image)[..., ::-1].copy()
        return np.asarray(inference_topdown(model, bgr)[0].pred_fields.heatmaps)


def _require_parity(config: str, folder: Path, flip_test: bool = False) -> None:
    source = _saved(config, folder)
    network, model = load_network(source), _mmpose(source, flip_test)
    geometry = find_geometry(source, "topdown", None)
    for size in PHOTOGRAPHS:
        image = _photograph(size)
        images = torch.from_numpy(geometry.prepare(image)[None].copy()).permute(0, 3, 1, 2)
        ours = network(images, flip_test)[0].detach().numpy()
        assert np.abs(ours - _by_mmpose(model, image)).max() <= 1e-5

    stretched = np.asarray(image.resize((128, 384), Image.Resampling.BICUBIC))[None].copy()
    geometry = find_geometry(source, "resize", None)
    assert np.array_equal(geometry.prepare(image)[None], stretched)
    ours = spanning_heatmaps(network, geometry, stretched, np.array([image.size]), flip_test=False)
    given = torch.from_numpy(stretched).permute(0, 3, 1, 2).float()
    given = (given - model.data_preprocessor.mean) / model.data_preprocessor.std
    with torch.no_grad():
        forward = model(given, None, mode="tensor").numpy()
    assert ours.shape == (1, 17, 96, 32)
    assert np.abs(ours - forward).max() <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("flip_test", [False, True])
def test_parity_with_mmposes_own_inference(tmp_path: Path, flip_test: bool) -> None:
    _require_parity(LITE, tmp_path, flip_test)


@pytest.mark.slow
@pytest.mark.parametrize("config", [W32, RES50])
def test_parity_of_the_large_families(tmp_path: Path, config: str) -> None:
    _require_parity(config, tmp_path)


def test_folding_batch_norms_is_dropped_where_it_would_change_the_network(tiny: TinyNetwork) -> None:
    from pirt_stages.pose.extraction.inference import _folded

    network = build_network(read_config(str(tiny.config)), "tiny").eval()
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in _folded(network).modules())

    class Backwards(nn.Module):
        """Runs its layers against the order in which they are defined."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.norm = nn.BatchNorm2d(3)
            nn.init.constant_(self.norm.running_mean, 50.0)

        def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
            return [self.conv(self.norm(images)).repeat(1, 2, 1, 1)[:, :4]]

    backwards: Any = build_network(read_config(str(tiny.config)), "tiny")
    backwards.estimator.backbone = Backwards()
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in _folded(backwards.eval()).modules())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model = 5", "has no 'model'"),
        ("model = dict(type='x')\ntest_dataloader = [1]", "pipeline is not a list of steps"),
        (
            "model = dict(type='x')\ntest_dataloader = dict(dataset=dict(pipeline=[3]))",
            "pipeline is not a list of steps",
        ),
    ],
)
def test_configs_of_another_form_are_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "odd.py").write_text(text)
    with pytest.raises(ParamsError, match=said):
        inference_steps(read_config(str(tmp_path / "odd.py")))


def test_images_stay_as_they_are_where_the_config_says_no_mean(tiny: TinyNetwork) -> None:
    config = read_config(str(tiny.config))
    config.model.data_preprocessor = {"type": "PoseDataPreprocessor", "bgr_to_rgb": True}
    network = build_network(config, "bare")
    images = torch.rand(2, 3, 64, 32) * 255
    assert torch.equal(network.normalised(images), images)
    assert network(images)[0].shape == (17, 16, 8)


def test_a_config_of_endless_layers_is_refused_at_once() -> None:
    config = read_config("td-hm_hrnet-w32_8xb64-210e_coco-256x192")
    config.model.backbone.extra.stage2.num_blocks = (10**30, 4)
    with pytest.raises(ParamsError, match="network endless has more layers than can be counted"):
        build_network(config, "endless")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_narrow_precisions_stay_near(tiny: TinyNetwork, precision: Any) -> None:
    heatmaps = []
    for kind in ("float32", precision):
        source = find_network(str(tiny.config), str(tiny.checkpoint), kind, "cpu", flip_test=False)
        geometry = find_geometry(source, "resize", (64, 32))
        image = geometry.prepare(_photograph((64, 128)))[None].copy()
        heatmaps.append(
            spanning_heatmaps(load_network(source), geometry, image, np.array([(64, 128)]), flip_test=False)
        )
    assert heatmaps[0].dtype == heatmaps[1].dtype == np.float32
    assert 0 < np.abs(heatmaps[0] - heatmaps[1]).max() < 0.05


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("simcc_res50_8xb64-210e_coco-256x192", "SimCCHead"),
        ("td-reg_res50_8xb64-210e_coco-256x192", "RegressionHead"),
        ("td-hm_hrnet-w32_udp-regress-8xb64-210e_coco-256x192", "UDP offsets"),
        ("td-hm_hrnet-w48_8xb32-210e_coco-wholebody-256x192", "133 heatmaps"),
        ("dekr_hrnet-w32_8xb10-140e_coco-512x512", "BottomupPoseEstimator"),
    ],
)
def test_networks_without_coco_heatmaps_are_refused_by_name(config: str, said: str) -> None:
    with pytest.raises(ParamsError, match=said) as told:
        build_network(read_config(config), config)
    assert config in str(told.value)


def test_unknown_configs_are_told_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=f"did you mean '{W32}'"):
        read_config(W32.replace("w32", "w33"))
    (tmp_path / "broken.py").write_text("model = (")
    with pytest.raises(ParamsError, match="cannot be read: SyntaxError"):
        read_config(str(tmp_path / "broken.py"))
    (tmp_path / "empty.py").write_text("x = 1")
    with pytest.raises(ParamsError, match="has no 'model'"):
        read_config(str(tmp_path / "empty.py"))


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        ("td-hm_ViTPose-small_8xb64-210e_coco-256x192", "VisionTransformer of the package mmpretrain"),
        ("td-hm_ViTPose-huge_8xb64-210e_humanart-256x192", "VisionTransformer of the package mmcls"),
        ("cspnext-m_udp_8xb256-210e_coco-256x192", "CSPNeXt of the package mmdet"),
    ],
)
def test_a_missing_package_is_named_before_anything_is_fetched(
    config: str, missing: str, capfd: pytest.CaptureFixture[str]
) -> None:
    url = "https://127.0.0.1:9/never-fetched.pth"
    for checkpoint in (url, None):
        with pytest.raises(ParamsError, match=f"network {config} needs {missing}, which is not installed") as told:
            find_network(config, checkpoint, "float32", "cpu", flip_test=False)
        assert "\n" not in str(told.value)
    assert "is not installed" not in "".join(capfd.readouterr())  # MMEngine's own, which says to install it


def test_config_and_checkpoint_come_together(tiny: TinyNetwork) -> None:
    with pytest.raises(ParamsError, match="belong together"):
        find_network(str(tiny.config), None, "float32", "cpu", flip_test=False)


@pytest.mark.parametrize("name", ["weights_sha256", "config_sha256"])
def test_weights_and_config_that_changed_since_are_refused(tiny: TinyNetwork, name: str) -> None:
    source = find_network(str(tiny.config), str(tiny.checkpoint), "float32", "cpu", flip_test=False)
    source = replace(source, **{name: "0" * 64})
    with pytest.raises(PirtError, match="is not the one that this run began with"):
        load_network(source)


def test_threads_share_one_network(tiny: TinyNetwork, tmp_path: Path) -> None:
    shutil.copy(tiny.checkpoint, tmp_path / "fresh.pth")
    source = find_network(str(tiny.config), str(tmp_path / "fresh.pth"), "float32", "cpu", flip_test=False)
    with ThreadPoolExecutor(4) as pool:
        networks = list(pool.map(load_network, [source] * 4))
    assert len(set(map(id, networks))) == 1


def test_folding_takes_no_root_that_processors_round_differently(tiny: TinyNetwork) -> None:
    source = find_network(str(tiny.config), str(tiny.checkpoint), "float32", "cpu", flip_test=False)
    with MklFunctions() as mkl:
        network = prepared(loaded(source).eval(), source.precision, source.device)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.estimator.modules())
    assert mkl.called == set()
