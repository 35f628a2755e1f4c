"""ResNet-IBN-a, the paper's backbone (Pan et al., "Two at Once", ECCV 2018).

Parameters carry torchvision's ResNet names, with the first norm of every block in layers 1 to 3 split into `IN` and
`BN`, so that the published ImageNet weights load unchanged; plain ResNet-50 is here too. Deviations from the published
classifier: no average pooling and no `fc`; the strides of the four layers are arguments, and the last is 1 as usual in
re-identification.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from pirt.core.errors import ParamsError
from pirt.core.weights import leave_out
from pirt.models.backbone import Adapted, Backbone, Grid

Strides = tuple[int, int, int, int]
REID_STRIDES: Strides = (1, 2, 2, 1)

StemPool = Literal["padded", "ceil"]
"""As the published weights were trained; or without padding but over the edge, as the authors' program has it.

An even grid keeps its size; with "ceil" each cell is the maximum of a window one pixel further on.
"""
_HEADS = ("fc.", "fc1.", "fc2.", "embed_fc.", "classifier.")
"""Of ImageNet's classifier, of MoCo's projection and of LUPerson's networks."""


class IBN(nn.Module):
    """Instance norm on the first half of the channels, batch norm on the rest: N×C×H×W -> N×C×H×W."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.instances = channels // 2
        self.IN = nn.InstanceNorm2d(self.instances, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.instances)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise both parts and join them again."""
        # Of channels that lie apart, a batch norm takes its roots from MKL, which rounds them as the maker chooses.
        rest = features[:, self.instances :].clone()
        return torch.cat([self.IN(features[:, : self.instances]), self.BN(rest)], dim=1)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut (ResNet-18 and 34)."""

    expansion = 1

    def __init__(self, in_channels: int, planes: int, stride: int, ibn: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, planes, 3, stride, padding=1, bias=False)
        self.bn1: nn.Module = IBN(planes) if ibn else nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, planes, stride)

    def forward(self, features: Tensor) -> Tensor:
        """N×in×H×W -> N×planes×H/stride×W/stride."""
        out = self.relu(self.bn1(self.conv1(features)))
        out = self.bn2(self.conv2(out))
        shortcut = features if self.downsample is None else self.downsample(features)
        joined: Tensor = self.relu(out + shortcut)
        return joined


class Bottleneck(nn.Module):
    """1×1, 3×3 (with the stride) and 1×1 convolutions with a shortcut (ResNet-50 and 101)."""

    expansion = 4

    def __init__(self, in_channels: int, planes: int, stride: int, ibn: bool) -> None:
        super().__init__()
        out_channels = planes * self.expansion
        self.conv1 = nn.Conv2d(in_channels, planes, 1, bias=False)
        self.bn1: nn.Module = IBN(planes) if ibn else nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, out_channels, stride)

    def forward(self, features: Tensor) -> Tensor:
        """N×in×H×W -> N×4·planes×H/stride×W/stride."""
        out = self.relu(self.bn1(self.conv1(features)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        shortcut = features if self.downsample is None else self.downsample(features)
        joined: Tensor = self.relu(out + shortcut)
        return joined


Block = type[BasicBlock] | type[Bottleneck]


class ResNet(Backbone):
    """Images B×3×Hi×Wi to features F: B×C×H×W, C = `feature_channels` = width · 8 · expansion."""

    last_layer = 5

    def __init__(
        self,
        block: Block,
        depths: Sequence[int],
        width: int,
        strides: Strides,
        stem_pool: StemPool = "padded",
        ibn: bool = True,
    ) -> None:
        super().__init__()
        self.stride = (4 * math.prod(strides),) * 2
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        ceil = stem_pool == "ceil"
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=0 if ceil else 1, ceil_mode=ceil)
        channels = width * block.expansion
        self.layer1 = _layer(block, width, width, depths[0], strides[0], ibn)
        self.layer2 = _layer(block, channels, width * 2, depths[1], strides[1], ibn)
        self.layer3 = _layer(block, channels * 2, width * 4, depths[2], strides[2], ibn)
        # Where IBN-a has none, so that the published weights fit.
        self.layer4 = _layer(block, channels * 4, width * 8, depths[3], strides[3], ibn=False)
        self.feature_channels = channels * 8
        # As for ImageNet: batch norms keep PyTorch's 1, where those outside the backbone are drawn.
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return the spatial features F of section 3.2; Hi = 4 · strides · H, rounded up."""
        features = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        features = self.layer2(self.layer1(features))
        deep: Tensor = self.layer4(self.layer3(features))
        return deep

    def grid(self, image_size: Grid) -> Grid:
        """Return H and W, the image over the stride."""
        for side, pixels, stride in zip(("height", "width"), image_size, self.stride, strict=True):
            # Convolutions round up, and a cell of the features would not be the place of the heatmaps' cell any more.
            if pixels % stride:
                raise ParamsError(
                    f"image {side} {pixels} is not a multiple of the model's stride {stride}; change train.image_size"
                )
        return image_size[0] // self.stride[0], image_size[1] // self.stride[1]

    def layer_of(self, name: str) -> int:
        """0 is the stem, then the four layers."""
        return int(name[len("layer")]) if name.startswith("layer") else 0

    def adapt(self, weights: Mapping[str, Tensor]) -> Adapted:
        """Leave the heads out."""
        return Adapted(*leave_out(weights, _HEADS))


def resnet18_ibn_a(width: int = 64, strides: Strides = REID_STRIDES, stem_pool: StemPool = "padded") -> ResNet:
    """Build ResNet-18-IBN-a."""
    return ResNet(BasicBlock, (2, 2, 2, 2), width, strides, stem_pool)


def resnet34_ibn_a(width: int = 64, strides: Strides = REID_STRIDES, stem_pool: StemPool = "padded") -> ResNet:
    """Build ResNet-34-IBN-a."""
    return ResNet(BasicBlock, (3, 4, 6, 3), width, strides, stem_pool)


def resnet50_ibn_a(width: int = 64, strides: Strides = REID_STRIDES, stem_pool: StemPool = "padded") -> ResNet:
    """Build ResNet-50-IBN-a, the paper's backbone: 384×128 images to 2048×24×8 features."""
    return ResNet(Bottleneck, (3, 4, 6, 3), width, strides, stem_pool)


def resnet101_ibn_a(width: int = 64, strides: Strides = REID_STRIDES, stem_pool: StemPool = "padded") -> ResNet:
    """Build ResNet-101-IBN-a."""
    return ResNet(Bottleneck, (3, 4, 23, 3), width, strides, stem_pool)


def resnet50(width: int = 64, strides: Strides = REID_STRIDES, stem_pool: StemPool = "padded") -> ResNet:
    """Build ResNet-50 without instance norms, in torchvision's names."""
    return ResNet(Bottleneck, (3, 4, 6, 3), width, strides, stem_pool, ibn=False)


def _layer(block: Block, in_channels: int, planes: int, depth: int, stride: int, ibn: bool) -> nn.Sequential:
    first = block(in_channels, planes, stride, ibn)
    rest = [block(planes * block.expansion, planes, 1, ibn) for _ in range(depth - 1)]
    return nn.Sequential(first, *rest)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))
