"""Adaptive max pooling out of plain operations, which ONNX has and whose gradient a GPU repeats exactly."""

import torch
from torch import Tensor
from torch.nn import functional


def max_pool_to(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """Take maxima as `adaptive_max_pool2d` does: B×C×H×W -> B×C×h×w for `grid` = (h, w), whatever the sizes."""
    (H, W), (h, w) = features.shape[2:], grid
    # So it is at the paper's sizes: 4×4 windows from 96×32 to 24×8.
    if H % h == 0 and W % w == 0:
        return functional.max_pool2d(features, (H // h, W // w))
    rows = features[:, :, _windows(H, h, features.device)].amax(dim=3)  # B×C×h×W
    return rows[..., _windows(W, w, features.device)].amax(dim=4)


def _windows(length: int, parts: int, device: torch.device) -> Tensor:
    """Number the cells of each part, parts×n; a part shorter than others repeats its last cell."""
    bounds = [(part * length // parts, -(-(part + 1) * length // parts)) for part in range(parts)]
    longest = max(end - start for start, end in bounds)
    # Counted on the device: the host would wait for a GPU to take a list.
    part = torch.arange(parts, device=device)[:, None]
    last = -(-(part + 1) * length // parts) - 1
    return torch.minimum(part * length // parts + torch.arange(longest, device=device), last)
