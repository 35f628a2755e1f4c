"""The names that this program takes from MMPose and MMEngine, imported without their warnings.

They warn on import about compiled operators and pkg_resources, neither of which is used here.
"""

import importlib
import pickle
import time
import warnings
from pathlib import Path


def _import_yapf() -> None:
    """Import yapf, which MMEngine imports, again while another process half-way writes yapf's cache of its grammar.

    yapf renames the file before its last bytes are on disk (https://github.com/google/yapf/issues/1164), so that of
    several processes that start together on a new machine, such as the workers of a cluster, one may find it cut.
    """
    for _ in range(20):
        try:
            importlib.import_module("yapf")
        except (EOFError, pickle.UnpicklingError):
            time.sleep(0.1)
        else:
            return
    importlib.import_module("yapf")


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    _import_yapf()
    import mmpose
    import mmpose.codecs
    import mmpose.models
    from mmcv.cnn.utils.fuse_conv_bn import fuse_conv_bn
    from mmengine.config import Config, ConfigDict
    from mmengine.fileio import YamlHandler, register_handler
    from mmengine.logging import MMLogger
    from mmengine.model.utils import revert_sync_batchnorm
    from mmengine.registry import MODELS as BASIC_MODELS
    from mmengine.registry import init_default_scope
    from mmpose.codecs.utils import get_heatmap_maximum, refine_keypoints
    from mmpose.evaluation.functional import keypoint_pck_accuracy
    from mmpose.models.heads import CPMHead, HeatmapHead, MSPNHead, ViPNASHead
    from mmpose.models.utils.tta import flip_heatmaps
    from mmpose.registry import KEYPOINT_CODECS, MODELS
    from mmpose.structures.bbox import get_udp_warp_matrix, get_warp_matrix

HEATMAP_HEADS = (HeatmapHead, CPMHead, MSPNHead, ViPNASHead)

PACKAGED_CONFIGS = Path(mmpose.__file__).parent / ".mim" / "configs"
"""Where MMPose keeps the configs that can be named instead of given as a file."""

VERSION: str = mmpose.__version__


def known_parts() -> frozenset[str]:
    """Return the names of what MMPose's networks are made of: modules, losses, codecs and layers."""
    return frozenset().union(*(registry.module_dict for registry in (MODELS, BASIC_MODELS, KEYPOINT_CODECS)))


__all__ = [
    "HEATMAP_HEADS",
    "KEYPOINT_CODECS",
    "MODELS",
    "PACKAGED_CONFIGS",
    "VERSION",
    "Config",
    "ConfigDict",
    "MMLogger",
    "YamlHandler",
    "flip_heatmaps",
    "fuse_conv_bn",
    "get_heatmap_maximum",
    "get_udp_warp_matrix",
    "get_warp_matrix",
    "init_default_scope",
    "keypoint_pck_accuracy",
    "known_parts",
    "refine_keypoints",
    "register_handler",
    "revert_sync_batchnorm",
]
