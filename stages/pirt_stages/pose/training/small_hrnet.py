"""The config of a small HRNet for whole-image input, in MMPose's own words."""

from typing import Any

from pirt_stages.pose.networks.openmmlab import Config

CELL = 4
"""Pixels of the input that a heatmap cell is wide and high."""
# ImageNet's, as MMPose has them.
_MEAN = [123.675, 116.28, 103.53]
_STD = [58.395, 57.12, 57.375]


def small_hrnet_config(input_size: tuple[int, int], channels: int, sigma: float) -> Config:
    """Return an ordinary MMPose config: TopdownPoseEstimator, HRNet with one block per branch, HeatmapHead.

    `input_size` is height and width; `sigma` is in heatmap cells.
    """
    height, width = input_size
    # UDP's cells lie symmetrically in the image, so the mirrored heatmap is the heatmap of the mirrored image;
    # with MSRAHeatmap it would be off by three quarters of a cell.
    codec = {
        "type": "UDPHeatmap",
        "input_size": (width, height),
        "heatmap_size": (width // CELL, height // CELL),
        "sigma": sigma,
        "blur_kernel_size": 7,
    }
    # What MMPose's own inference needs: the whole image as the box, without MMPose's padding of 1.25.
    pipeline = [
        {"type": "LoadImage"},
        {"type": "GetBBoxCenterScale", "padding": 1.0},
        {"type": "TopdownAffine", "input_size": (width, height), "use_udp": True},
        {"type": "PackPoseInputs"},
    ]
    loader = {
        "batch_size": 1,
        "dataset": {"type": "CocoDataset", "data_mode": "topdown", "pipeline": pipeline},
    }
    return Config(
        {
            "default_scope": "mmpose",
            "codec": codec,
            "model": _model(codec, channels),
            # MMPose's `init_model` takes the keypoints' names from the data set of this one.
            "train_dataloader": loader,
            "test_dataloader": loader,
        }
    )


def _model(codec: dict[str, Any], channels: int) -> dict[str, Any]:
    return {
        "type": "TopdownPoseEstimator",
        "data_preprocessor": {
            "type": "PoseDataPreprocessor",
            "mean": _MEAN,
            "std": _STD,
            # MMPose reads images as BGR.
            "bgr_to_rgb": True,
        },
        "backbone": {
            "type": "HRNet",
            "in_channels": 3,
            "extra": {
                "stage1": {
                    "num_modules": 1,
                    "num_branches": 1,
                    "block": "BOTTLENECK",
                    "num_blocks": (1,),
                    "num_channels": (16,),
                },
                "stage2": _stage(2, channels),
                "stage3": _stage(3, channels),
                "stage4": _stage(4, channels),
            },
        },
        "head": {
            "type": "HeatmapHead",
            "in_channels": channels,
            "out_channels": 17,
            # HRNet's finest branch has the heatmaps' size already.
            "deconv_out_channels": None,
            "loss": {"type": "KeypointMSELoss", "use_target_weight": True},
            "decoder": codec,
        },
        "test_cfg": {"flip_test": False},
    }


def _stage(branches: int, channels: int) -> dict[str, Any]:
    return {
        "num_modules": 1,
        "num_branches": branches,
        "block": "BASIC",
        "num_blocks": (1,) * branches,
        "num_channels": tuple(channels * 2**branch for branch in range(branches)),
    }
