"""Intra-part relational module, IRM (section 3.3, eqs. 4 to 8)."""

from torch import Tensor, nn
from torch.nn import functional

from pirt.models.attention import SelfAttention
from pirt.models.resnet_ibn import IBN


class IntraPart(nn.Module):
    """Relate the cells of each horizontal stripe; a stripe is one row of the feature grid.

    All B·H stripes are one batch of sequences, W tokens of `bottleneck` channels each.
    """

    def __init__(self, channels: int, bottleneck: int, heads: int, *, projection: bool, dropout: float) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Conv2d(channels, bottleneck, 1), IBN(bottleneck), nn.ReLU())
        self.attention = SelfAttention(bottleneck, heads, bias=False, projection=projection, dropout=0.0)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.BatchNorm2d(bottleneck)
        self.decode = nn.Sequential(nn.Conv2d(bottleneck, channels, 1), nn.BatchNorm2d(channels))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """F: B×C×H×W and the human mask C: B×1×H×W -> F_irm: B×C×H×W."""
        encoded = self.encode(features)  # φ(F), eq. 4
        related = self._attend(encoded) + self.dropout(encoded)  # eq. 5
        related = functional.relu(self.norm(related))
        return functional.relu(self.decode(related) + mask.to(features.dtype) * features)  # eq. 8

    def _attend(self, encoded: Tensor) -> Tensor:
        B, D, H, W = encoded.shape
        stripes = encoded.permute(0, 2, 3, 1).reshape(B * H, W, D)
        attended: Tensor = self.attention(stripes)
        return attended.view(B, H, W, D).permute(0, 3, 1, 2)
