"""Intra-part relational module, IRM (section 3.3, eqs. 4 to 8)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pirt.models.attention import SelfAttention
from pirt.models.resnet_ibn import IBN

MaskReading = Literal["raw", "normalised", "raised", "one"]
"""How eq. 8 reads the human mask C; see `read_mask`."""


def read_mask(mask: Tensor, reading: MaskReading) -> Tensor:
    """Return what eq. 8 multiplies F by, from C: B×1×H×W in [0, 1]; the same shape.

    "raw" is C itself, whose height is that of the pose network's peaks, "normalised" each image's C over its maximum,
    which leaves the place alone, "raised" (1 + C)/2, which keeps half of F everywhere, and "one" all of F.
    """
    match reading:
        case "raw":
            return mask
        case "normalised":
            # An image without any evidence keeps C = 0.
            return mask / mask.amax(dim=(2, 3), keepdim=True).clamp_min(torch.finfo(mask.dtype).tiny)
        case "raised":
            return (1 + mask) / 2
        case "one":
            return torch.ones_like(mask)


class IntraPart(nn.Module):
    """Relate the cells of each horizontal stripe; a stripe is one row of the feature grid.

    All B·H stripes are one batch of sequences, W tokens of `bottleneck` channels each.
    """

    def __init__(
        self,
        channels: int,
        bottleneck: int,
        heads: int,
        *,
        projection: bool,
        dropout: float,
        mask: MaskReading = "raw",
    ) -> None:
        super().__init__()
        self.reading: MaskReading = mask
        # The paper names instance and batch norm here; the authors' program has IBN, one for each half of the channels.
        self.encode = nn.Sequential(nn.Conv2d(channels, bottleneck, 1), IBN(bottleneck), nn.ReLU())
        # Without biases, as the authors have it; W_H is the paper's alone.
        self.attention = SelfAttention(bottleneck, heads, bias=False, projection=projection, dropout=0.0)
        self.dropout = nn.Dropout(dropout)  # of F_φ; the attention has none of its own
        self.norm = nn.BatchNorm2d(bottleneck)
        # No ReLU of its own: that of eq. 8 comes after the sum.
        self.decode = nn.Sequential(nn.Conv2d(bottleneck, channels, 1), nn.BatchNorm2d(channels))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """F: B×C×H×W and the human mask C: B×1×H×W -> F_irm: B×C×H×W."""
        encoded = self.encode(features)  # φ(F), eq. 4
        related = self._attend(encoded) + self.dropout(encoded)  # eq. 5
        related = functional.relu(self.norm(related))
        # Read in the heatmaps' float32, which mixed precision leaves them, and only then in the features' type.
        kept = read_mask(mask, self.reading).to(features.dtype) * features
        return functional.relu(self.decode(related) + kept)  # eq. 8

    def _attend(self, encoded: Tensor) -> Tensor:
        B, D, H, W = encoded.shape
        # Rows are told apart by lying in the batch: attention never crosses from one to another.
        stripes = encoded.permute(0, 2, 3, 1).reshape(B * H, W, D)
        attended: Tensor = self.attention(stripes)
        return attended.view(B, H, W, D).permute(0, 3, 1, 2)
