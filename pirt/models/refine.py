"""A finer grid than the backbone's, so that parts are told apart by more of the heatmaps' cells."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Refine(nn.Module):
    """Interpolate features linearly to `factor` times their rows and columns: B×C×H×W -> B×C×fH×fW.

    Two matrix products, whose gradient a GPU repeats exactly, unlike PyTorch's interpolation.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, grid: tuple[int, int], factor: int) -> None:
        super().__init__()
        for name, cells in zip(("rows", "columns"), grid, strict=True):
            self.register_buffer(name, interpolation(cells, factor), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Interpolate between the centres of cells; beyond the outermost ones features stay as they are."""
        finer: Tensor = self.rows @ features @ self.columns.T
        return finer


def interpolation(cells: int, factor: int) -> Tensor:
    """Return the matrix factor·cells×cells that interpolates a line of cells."""
    unit = torch.eye(cells)[None]
    return functional.interpolate(unit, scale_factor=factor, mode="linear", align_corners=False)[0].T.contiguous()
