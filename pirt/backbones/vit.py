"""Vision transformers (Dosovitskiy et al., ICLR 2021) as TransReID uses them on persons (He et al., ICCV 2021).

Parameters carry timm's names, which DINO, TransReID-SSL and PersonViT publish too. Deviations from the classifier: no
head, patches that may overlap, positions on the image's own grid, and as features all patch tokens after the last norm
instead of the class token, which takes part in attention alone.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from pirt.backbones.blocks import Mlp, drop_path, drop_rates, init_transformer, require_size, run_block
from pirt.core.errors import CheckpointError, ParamsError
from pirt.core.weights import leave_out
from pirt.models.backbone import Adapted, Backbone, Grid
from pirt.models.resnet_ibn import IBN

PATCH = 16
_STEM_CHANNELS = 64
_HEADS = ("head.", "head_dist.", "fc.", "pre_logits.", "masked_embed")
"""What published files have beside the backbone: classifiers, DINO's projection and iBOT's token of hidden patches."""
_SIDES = (1, 2, 3)
"""Height over width of the grids that published positions belong to: ImageNet's square, 256×128 and 384×128."""


class PatchEmbed(nn.Module):
    """Patches of 16×16 pixels to tokens: B×3×Hi×Wi -> B×C×H×W.

    With `conv_stem` three convolutions with IBN halve the image before (TransReID-SSL's "ICS" networks).
    """

    def __init__(self, channels: int, stride: Grid, conv_stem: bool) -> None:
        super().__init__()
        self.conv = _conv_stem() if conv_stem else nn.Identity()
        if conv_stem:
            self.proj = nn.Conv2d(_STEM_CHANNELS, channels, PATCH // 2, PATCH // 2)
        else:
            self.proj = nn.Conv2d(3, channels, PATCH, stride)

    def forward(self, images: Tensor) -> Tensor:
        """Embed each patch."""
        tokens: Tensor = self.proj(self.conv(images))
        return tokens


class Attention(nn.Module):
    """Multi-head self-attention in the published names: B×T×C -> B×T×C."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Relate all tokens of an image."""
        B, T, C = tokens.shape
        query, key, value = self.qkv(tokens).view(B, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value)
        joined: Tensor = self.proj(attended.transpose(1, 2).reshape(B, T, C))
        return joined


class Block(nn.Module):
    """Pre-norm encoder block: B×T×C -> B×T×C."""

    def __init__(self, channels: int, heads: int, drop: float) -> None:
        super().__init__()
        self.drop = drop
        # timm's ε, with which the published weights were trained, and not PyTorch's.
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = Attention(channels, heads)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = Mlp(channels, 4 * channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Attention and feed-forward, each added to its input."""
        tokens = tokens + drop_path(self.attn(self.norm1(tokens)), self.drop, self.training)
        return tokens + drop_path(self.mlp(self.norm2(tokens)), self.drop, self.training)


class VisionTransformer(Backbone):
    """Images of one size, B×3×Hi×Wi, to features B×C×H×W with H = (Hi − 16) // stride + 1, W alike."""

    def __init__(
        self,
        image_size: Grid,
        channels: int,
        heads: int,
        depth: int,
        patch_stride: Grid,
        drop_path: float,
        conv_stem: bool,
        checkpointing: bool,
    ) -> None:
        super().__init__()
        if conv_stem and tuple(patch_stride) != (PATCH, PATCH):
            raise ParamsError(
                f"patch_stride = {patch_stride} with conv_stem, whose patches lie {PATCH} apart; leave patch_stride out"
            )
        self.feature_channels, self.stride = channels, patch_stride
        self.checkpointing = checkpointing
        self.image_size, self.size = image_size, self.grid(image_size)
        self.patch_embed = PatchEmbed(channels, patch_stride, conv_stem)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, channels))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + math.prod(self.size), channels))
        self.blocks = nn.ModuleList(Block(channels, heads, rate) for rate in drop_rates(drop_path, depth))
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.last_layer = depth + 1
        self.apply(init_transformer)
        for token in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(token, std=0.02)

    def grid(self, image_size: Grid) -> Grid:
        """Return H and W; pixels beyond the last whole patch are not looked at, as in TransReID."""
        if min(image_size) < PATCH or min(self.stride) < 1:
            raise ParamsError(
                f"an image of {image_size} with patches {self.stride} apart has no whole patch of {PATCH}×{PATCH}; "
                "change train.image_size or patch_stride"
            )
        (height, width), (down, right) = image_size, self.stride
        return (height - PATCH) // down + 1, (width - PATCH) // right + 1

    def forward(self, images: Tensor) -> Tensor:
        """Return the patch tokens after the last norm, on their grid."""
        require_size(images, self.image_size)
        grid = self.patch_embed(images)
        tokens = torch.cat([self.cls_token.expand(images.shape[0], -1, -1), grid.flatten(2).transpose(1, 2)], dim=1)
        # The class token has a place of its own, the first.
        tokens = tokens + self.pos_embed
        for block in self.blocks:
            tokens = run_block(block, tokens, self.checkpointing and self.training)
        patches: Tensor = self.norm(tokens)[:, 1:]
        return patches.transpose(1, 2).reshape(images.shape[0], self.feature_channels, *self.size)

    def layer_of(self, name: str) -> int:
        """0 is the embedding, then the blocks; the last norm learns as the heads do."""
        if name.startswith("blocks."):
            return int(name.split(".")[1]) + 1
        return self.last_layer if name.startswith("norm.") else 0

    def adapt(self, weights: Mapping[str, Tensor]) -> Adapted:
        """Leave heads out, and bring the positions to this grid."""
        adapted = Adapted(*leave_out(weights, _HEADS))
        positions = adapted.weights.get("pos_embed")
        if positions is not None and positions.dim() == 3 and positions.shape[1] != self.pos_embed.shape[1]:
            old = grid_of_positions(positions.shape[1] - 1)
            adapted.weights["pos_embed"] = resample_positions(positions, old, self.size)
            adapted.notes.append(f"positions resampled from {old[0]}×{old[1]} to {self.size[0]}×{self.size[1]} patches")
        return adapted


def grid_of_positions(count: int) -> Grid:
    """Return the grid of `count` positions; no two of the known aspects have a count in common."""
    # The square roots of 2, 3 and 3/2 are irrational, so at most one side fits.
    for side in _SIDES:
        width = math.isqrt(count // side)
        if side * width * width == count > 0:
            return side * width, width
    raise CheckpointError(
        f"holds pos_embed of {count} positions, which do not form a grid of {' or '.join(map(str, _SIDES))} times its "
        "width; use the image size and patch_stride that they were trained with"
    )


def resample_positions(positions: Tensor, old: Grid, new: Grid) -> Tensor:
    """Resample 1×(1 + old)×C to 1×(1 + new)×C, bilinear as TransReID does; the class token's stays."""
    token, grid = positions[:, :1], positions[:, 1:]
    grid = grid.reshape(1, *old, -1).permute(0, 3, 1, 2)
    # Without align_corners: cells are areas of the image, whose centres move with their number.
    grid = functional.interpolate(grid, size=new, mode="bilinear")
    return torch.cat([token, grid.flatten(2).transpose(1, 2)], dim=1)


def vit_small(
    image_size: Grid,
    *,
    patch_stride: Grid = (PATCH, PATCH),
    depth: int = 12,
    drop_path: float = 0.1,
    conv_stem: bool = False,
    checkpointing: bool = False,
) -> VisionTransformer:
    """Build ViT-S/16: 384 channels, 6 heads; the options are those of `docs/decisions/backbones.md`."""
    return VisionTransformer(image_size, 384, 6, depth, patch_stride, drop_path, conv_stem, checkpointing)


def vit_base(
    image_size: Grid,
    *,
    patch_stride: Grid = (PATCH, PATCH),
    depth: int = 12,
    drop_path: float = 0.1,
    conv_stem: bool = False,
    checkpointing: bool = False,
) -> VisionTransformer:
    """Build ViT-B/16: 768 channels, 12 heads."""
    return VisionTransformer(image_size, 768, 12, depth, patch_stride, drop_path, conv_stem, checkpointing)


def _conv_stem() -> nn.Sequential:
    def conv(channels: int, kernel: int, stride: int) -> nn.Conv2d:
        return nn.Conv2d(channels, _STEM_CHANNELS, kernel, stride, padding=kernel // 2, bias=False)

    C = _STEM_CHANNELS
    return nn.Sequential(
        *(conv(3, 7, 2), IBN(C), nn.ReLU(inplace=True)),
        *(conv(C, 3, 1), IBN(C), nn.ReLU(inplace=True)),
        *(conv(C, 3, 1), nn.BatchNorm2d(C), nn.ReLU(inplace=True)),
    )
