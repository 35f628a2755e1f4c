"""What the transformers of this folder share."""

from itertools import repeat

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from pirt.core.errors import DataError, ParamsError


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between, in the published names: …×C -> …×C."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform each token by itself."""
        transformed: Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return transformed


def drop_rates(last: float, depth: int) -> list[float]:
    """Return each block's rate of `drop_path`, rising linearly from 0 to `last`."""
    if not 0 <= last < 1:
        raise ParamsError(f"drop_path = {last}: expected at least 0 and less than 1")
    if depth < 1:
        raise ParamsError(f"depth = {depth}: expected at least one block")
    return [last * block / max(depth - 1, 1) for block in range(depth)]


def drop_path(branch: Tensor, rate: float, training: bool) -> Tensor:
    """Leave a branch out for some images of the batch and scale it up for the others (stochastic depth)."""
    if rate == 0 or not training:
        return branch
    # One draw an image, and those kept are scaled up: the mean stays that of evaluation.
    keep = 1 - rate
    kept = torch.rand(branch.shape[0], *repeat(1, branch.dim() - 1), device=branch.device, dtype=branch.dtype) < keep
    return branch * kept / keep


def require_size(images: Tensor, size: tuple[int, int]) -> None:
    """Raise DataError when images are of another size than the backbone was built for."""
    if tuple(images.shape[2:]) != size:
        found = "×".join(map(str, images.shape[2:]))
        raise DataError(f"images are {found}, this backbone was built for {size[0]}×{size[1]}; build it for their size")


def run_block(block: nn.Module, tokens: Tensor, recompute: bool) -> Tensor:
    """Apply a block; with `recompute` its activations are computed again in the backward pass instead of kept."""
    out: Tensor = checkpoint(block, tokens, use_reentrant=False) if recompute else block(tokens)
    return out


def init_transformer(module: nn.Module) -> None:
    """Draw a linear layer's weights from a truncated normal with deviation 0.02; biases are zero."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
