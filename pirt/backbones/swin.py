"""Swin transformers (Liu et al., ICCV 2021), with the semantic weight of SOLIDER (Chen et al., CVPR 2023).

Parameters carry Microsoft's names; SOLIDER's, which are OpenMMLab's, are translated. Deviations from Microsoft's
classifier: no head; as in detection and in SOLIDER, grids that are no multiple of the window are padded with zeros, and
every second block shifts its windows even where one window covers the grid.
"""

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from pirt.backbones.blocks import Mlp, drop_path, drop_rates, init_transformer, require_size, run_block
from pirt.core.errors import CheckpointError, ParamsError
from pirt.core.weights import leave_out
from pirt.models.backbone import Adapted, Backbone, Grid

PATCH, STAGES = 4, 4
STRIDE = PATCH * 2 ** (STAGES - 1)
_SEMANTIC = "semantic_embed_"
_LEFT_OUT = ("head.", "norm0.", "norm1.", "norm2.", f"{_SEMANTIC}w.3.", f"{_SEMANTIC}b.3.")
"""Heads, and what SOLIDER has for other stages' outputs and behind the last stage, which never reach its features."""
_DERIVED = ("relative_position_index", "attn_mask")
"""Buffers that are computed here."""
_OPENMMLAB = (
    (r"^stages\.", "layers."),
    (r"^patch_embed\.projection\.", "patch_embed.proj."),
    (r"\.attn\.w_msa\.", ".attn."),
    (r"\.ffn\.layers\.0\.0\.", ".mlp.fc1."),
    (r"\.ffn\.layers\.1\.", ".mlp.fc2."),
    (r"^norm3\.", "norm."),
)


class PatchEmbed(nn.Module):
    """Patches of 4×4 pixels to normed tokens: B×3×Hi×Wi -> B×H×W×C."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, PATCH, PATCH)
        self.norm = nn.LayerNorm(channels)

    def forward(self, images: Tensor) -> Tensor:
        """Embed each patch."""
        tokens: Tensor = self.norm(self.proj(images).permute(0, 2, 3, 1))
        return tokens


class PatchMerging(nn.Module):
    """Join 2×2 tokens: B×H×W×C -> B×H/2×W/2×2C."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """The four lie column by column, as the published weights have them."""
        B, H, W, C = tokens.shape
        joined = tokens.view(B, H // 2, 2, W // 2, 2, C).permute(0, 1, 3, 4, 2, 5).flatten(3)
        merged: Tensor = self.reduction(self.norm(joined))
        return merged


class WindowAttention(nn.Module):
    """Self-attention within windows, with a bias for each relative place: N×T×C -> N×T×C, T = window²."""

    index: Tensor

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        # Computed here, so it is neither saved nor asked of a published file.
        self.register_buffer("index", relative_places(window), persistent=False)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Relate the tokens of each window; `mask` (windows of an image × T × T) is added to the scores."""
        N, T, C = windows.shape
        query, key, value = self.qkv(windows).view(N, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        scores = (query * (C // self.heads) ** -0.5) @ key.transpose(-2, -1)
        # heads×T×T, the same in every window and image.
        scores = scores + self.relative_position_bias_table[self.index].permute(2, 0, 1)
        if mask is not None:
            scores = (scores.view(-1, len(mask), self.heads, T, T) + mask[:, None]).view(N, self.heads, T, T)
        attended = (scores.softmax(dim=-1) @ value).transpose(1, 2).reshape(N, T, C)
        joined: Tensor = self.proj(attended)
        return joined


class Block(nn.Module):
    """Pre-norm block on windows of its grid, shifted by half a window or not: B×H×W×C -> B×H×W×C."""

    mask: Tensor | None

    def __init__(self, channels: int, heads: int, grid: Grid, window: int, shift: int, drop: float) -> None:
        super().__init__()
        self.window, self.shift, self.drop = window, shift, drop
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads, window)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, 4 * channels)
        self.register_buffer("mask", shift_mask(_padded(grid, window), window, shift), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Attention within windows and feed-forward, each added to its input."""
        tokens = tokens + drop_path(self._attend(self.norm1(tokens)), self.drop, self.training)
        return tokens + drop_path(self.mlp(self.norm2(tokens)), self.drop, self.training)

    def _attend(self, tokens: Tensor) -> Tensor:
        _, H, W, _ = tokens.shape
        height, width = _padded((H, W), self.window)
        # Padded cells take part: the published weights were trained with them.
        tokens = functional.pad(tokens, (0, 0, 0, width - W, 0, height - H))
        # Rolling the grid instead of moving the windows keeps all windows of one size; the mask undoes the wrapping.
        if self.shift:
            tokens = tokens.roll((-self.shift, -self.shift), (1, 2))
        attended = self.attn(into_windows(tokens, self.window), self.mask)
        tokens = from_windows(attended, (height, width), self.window)
        if self.shift:
            tokens = tokens.roll((self.shift, self.shift), (1, 2))
        return tokens[:, :H, :W]


class Stage(nn.Module):
    """Blocks on one grid, then the merging into the next: B×H×W×C -> B×H/2×W/2×2C, or B×H×W×C in the last."""

    def __init__(
        self, channels: int, heads: int, grid: Grid, window: int, drops: list[float], *, last: bool, checkpointing: bool
    ) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        self.blocks = nn.ModuleList(
            Block(channels, heads, grid, window, (block % 2) * (window // 2), drop) for block, drop in enumerate(drops)
        )
        self.downsample = None if last else PatchMerging(channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Apply the blocks and merge."""
        for block in self.blocks:
            tokens = run_block(block, tokens, self.checkpointing and self.training)
        return tokens if self.downsample is None else self.downsample(tokens)


class SwinTransformer(Backbone):
    """Images of one size, B×3×Hi×Wi, to features B×8·width×Hi/32×Wi/32."""

    def __init__(
        self,
        image_size: Grid,
        width: int,
        heads: int,
        depths: tuple[int, int, int, int],
        window: int,
        drop_path: float,
        semantic_weight: float | None,
        checkpointing: bool,
    ) -> None:
        super().__init__()
        self.stride = (STRIDE, STRIDE)
        # For its error: each of the three mergings needs even sides.
        self.grid(image_size)
        self.image_size = image_size
        if window < 2:
            raise ParamsError(f"window = {window}: expected at least 2")
        self.feature_channels = width * 2 ** (STAGES - 1)
        self.depths, self.last_layer = depths, sum(depths) + 1
        self.semantic_weight = semantic_weight
        """Share of semantics over appearance, where the network has SOLIDER's layers; may be set at any time."""
        self.patch_embed = PatchEmbed(width)
        rates, self.layers = drop_rates(drop_path, sum(depths)), nn.ModuleList()
        for stage, depth in enumerate(depths):
            grid = (image_size[0] // PATCH >> stage, image_size[1] // PATCH >> stage)
            drops, rates, last = rates[:depth], rates[depth:], stage == STAGES - 1
            channels, many = width << stage, heads << stage
            self.layers.append(Stage(channels, many, grid, window, drops, last=last, checkpointing=checkpointing))
        self.norm = nn.LayerNorm(self.feature_channels)
        if semantic_weight is not None:
            self.semantic_embed_w, self.semantic_embed_b = _semantic_embed(width), _semantic_embed(width)
        self.apply(init_transformer)

    def grid(self, image_size: Grid) -> Grid:
        """Return H and W, a 32nd of the image."""
        if any(side < STRIDE or side % STRIDE for side in image_size):
            raise ParamsError(
                f"image size {image_size} is not a multiple of Swin's stride {STRIDE}; change train.image_size"
            )
        return image_size[0] // STRIDE, image_size[1] // STRIDE

    def forward(self, images: Tensor) -> Tensor:
        """Return the tokens after the last norm, on their grid."""
        require_size(images, self.image_size)
        tokens = self.patch_embed(images)
        for stage, layer in enumerate(self.layers):
            tokens = layer(tokens)
            # Not behind the last stage: SOLIDER's features are taken before its last semantic layer.
            if self.semantic_weight is not None and stage < STAGES - 1:
                # Made anew each time, since the weight may be set at any time; filled and not copied, for which a GPU
                # would make the host wait.
                parts = (self.semantic_weight, 1 - self.semantic_weight)
                share = torch.stack([tokens.new_full((), part) for part in parts])
                scale = functional.softplus(self.semantic_embed_w[stage](share))
                tokens = tokens * scale + self.semantic_embed_b[stage](share)
        normed: Tensor = self.norm(tokens)
        return normed.permute(0, 3, 1, 2)

    def layer_of(self, name: str) -> int:
        """0 is the embedding, then the blocks, each merging with the block after it; the last norm as the heads."""
        parts = name.split(".")
        if parts[0] != "layers":
            return self.last_layer if parts[0] == "norm" else 0
        before = sum(self.depths[: int(parts[1])])
        block = int(parts[3]) if parts[2] == "blocks" else self.depths[int(parts[1])]
        return before + block + 1

    def adapt(self, weights: Mapping[str, Tensor]) -> Adapted:
        """Translate SOLIDER's names, leave heads out, and bring the biases to this window."""
        if any(name.startswith("stages.") for name in weights):
            weights = from_openmmlab(weights)
        weights = {name: value for name, value in weights.items() if not name.endswith(_DERIVED)}
        adapted = Adapted(*leave_out(weights, _LEFT_OUT))
        # Listed as unexpected, they would not tell which option to set.
        if self.semantic_weight is None and any(name.startswith(_SEMANTIC) for name in adapted.weights):
            raise CheckpointError("has SOLIDER's semantic layers; set backbone_options.semantic_weight, theirs is 0.2")
        own, resampled = self.state_dict(), set()
        for name, table in adapted.weights.items():
            if name.endswith("relative_position_bias_table") and name in own and table.shape[0] != own[name].shape[0]:
                adapted.weights[name] = resample_biases(table, own[name].shape[0])
                resampled.add(f"{window_of(table)} to {window_of(own[name])}")
        adapted.notes += [f"relative position biases resampled from window {change}" for change in sorted(resampled)]
        return adapted


def relative_places(window: int) -> Tensor:
    """Return T×T numbers of the bias between two tokens of a window, T = window²."""
    rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    rows, columns = rows.flatten(), columns.flatten()
    down, right = rows[:, None] - rows + window - 1, columns[:, None] - columns + window - 1
    return down * (2 * window - 1) + right


def shift_mask(grid: Grid, window: int, shift: int) -> Tensor | None:
    """Return what keeps tokens apart that only the cyclic shift has brought into one window: windows×T×T, or None."""
    if not shift:
        return None

    def regions(length: int) -> Tensor:
        cells = torch.arange(length)
        # The last window holds its own cells (1) and those that the roll brought from the far edge (2).
        return (cells >= length - window).long() + (cells >= length - shift).long()

    region = regions(grid[0])[:, None] * 3 + regions(grid[1])
    windows = into_windows(region[None, :, :, None], window)[..., 0]
    apart = windows[:, :, None] != windows[:, None, :]
    # Microsoft's number: as good as −∞ to the softmax, and still a number where a row has nothing else.
    return torch.zeros(apart.shape).masked_fill(apart, -100.0)


def into_windows(tokens: Tensor, window: int) -> Tensor:
    """Cut B×H×W×C into (B · H/window · W/window)×window²×C."""
    B, H, W, C = tokens.shape
    cut = tokens.view(B, H // window, window, W // window, window, C).transpose(2, 3)
    return cut.reshape(-1, window * window, C)


def from_windows(windows: Tensor, grid: Grid, window: int) -> Tensor:
    """Join what `into_windows` cut: B×H×W×C."""
    H, W = grid
    cut = windows.view(-1, H // window, W // window, window, window, windows.shape[-1])
    return cut.transpose(2, 3).reshape(-1, H, W, windows.shape[-1])


def from_openmmlab(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate OpenMMLab's and SOLIDER's names; merged tokens lie in another order there."""
    translated = {}
    for name, value in weights.items():
        for theirs, ours in _OPENMMLAB:
            name = re.sub(theirs, ours, name)
        if ".downsample." in name and value.shape[-1] % 4 == 0:
            # There channel by channel and then row by row, here column by column and then channel by channel.
            value = value.reshape(*value.shape[:-1], -1, 2, 2).movedim((-1, -2, -3), (-3, -2, -1)).flatten(-3)
        translated[name] = value
    return translated


def resample_biases(table: Tensor, places: int) -> Tensor:
    """Resample a table of relative position biases to `places`, bicubic as Microsoft does."""
    old, new = math.isqrt(len(table)), math.isqrt(places)
    grid = functional.interpolate(table.T.reshape(1, -1, old, old), size=(new, new), mode="bicubic")
    return grid.reshape(-1, places).T


def window_of(table: Tensor) -> int:
    """Return the window that a table of relative position biases is for."""
    return (math.isqrt(len(table)) + 1) // 2


def swin_tiny(
    image_size: Grid,
    *,
    depths: tuple[int, int, int, int] = (2, 2, 6, 2),
    window: int = 7,
    drop_path: float = 0.1,
    semantic_weight: float | None = None,
    checkpointing: bool = False,
) -> SwinTransformer:
    """Build Swin-T: C = 768; the options are those of `docs/decisions/backbones.md`."""
    return SwinTransformer(image_size, 96, 3, depths, window, drop_path, semantic_weight, checkpointing)


def swin_small(
    image_size: Grid,
    *,
    depths: tuple[int, int, int, int] = (2, 2, 18, 2),
    window: int = 7,
    drop_path: float = 0.1,
    semantic_weight: float | None = None,
    checkpointing: bool = False,
) -> SwinTransformer:
    """Build Swin-S: C = 768, deeper than Swin-T."""
    return SwinTransformer(image_size, 96, 3, depths, window, drop_path, semantic_weight, checkpointing)


def swin_base(
    image_size: Grid,
    *,
    depths: tuple[int, int, int, int] = (2, 2, 18, 2),
    window: int = 7,
    drop_path: float = 0.1,
    semantic_weight: float | None = None,
    checkpointing: bool = False,
) -> SwinTransformer:
    """Build Swin-B: C = 1024."""
    return SwinTransformer(image_size, 128, 4, depths, window, drop_path, semantic_weight, checkpointing)


def _padded(grid: Grid, window: int) -> Grid:
    return -(-grid[0] // window) * window, -(-grid[1] // window) * window


def _semantic_embed(width: int) -> nn.ModuleList:
    """Layers behind the first three stages; they keep what pre-training gave them, as in SOLIDER."""
    return nn.ModuleList(nn.Linear(2, width << stage).requires_grad_(False) for stage in range(1, STAGES))
