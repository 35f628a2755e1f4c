"""Which backbones there are, a line each. DVC does not watch this table, so that a new line retrains nothing.

A pipeline whose models use a backbone of `pirt.backbones` names its file among the dependencies of the stages that
build them; the ResNets of the paper lie in `pirt.models`, which these stages watch anyway.
"""

BACKBONES = {
    "resnet18_ibn_a": "pirt.models.resnet_ibn",
    "resnet34_ibn_a": "pirt.models.resnet_ibn",
    "resnet50_ibn_a": "pirt.models.resnet_ibn",
    "resnet101_ibn_a": "pirt.models.resnet_ibn",
    "resnet50": "pirt.models.resnet_ibn",
    "vit_small": "pirt.backbones.vit",
    "vit_base": "pirt.backbones.vit",
    "swin_tiny": "pirt.backbones.swin",
    "swin_small": "pirt.backbones.swin",
    "swin_base": "pirt.backbones.swin",
}
"""Name of the backbone, and the module whose function of that name builds it."""
