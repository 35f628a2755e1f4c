"""Inter-part relational transformer, IRT, and the partitions it reads (section 3.4, eqs. 9 to 12)."""

from torch import Tensor, nn

from pirt.models.attention import SelfAttention
from pirt.models.pooling import max_pool_to


class TransformerUnit(nn.Module):
    """Post-norm encoder unit: attention and feed-forward, each added to its input and layer-normalised."""

    def __init__(self, channels: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        # The biases are the authors'.
        self.attention = SelfAttention(channels, heads, bias=True, projection=True, dropout=dropout)
        self.norm1 = nn.LayerNorm(channels)
        self.feedforward = nn.Sequential(
            nn.Linear(channels, feedforward), nn.ReLU(), nn.Dropout(dropout), nn.Linear(feedforward, channels)
        )
        self.norm2 = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """N×T×C -> N×T×C (eqs. 9 to 11); `valid` as in `SelfAttention`."""
        # Dropout acts where PyTorch's encoder layer has it; the paper names eq. 11 alone.
        tokens = self.norm1(tokens + self.dropout(self.attention(tokens, valid)))
        normed: Tensor = self.norm2(tokens + self.dropout(self.feedforward(tokens)))
        return normed


class InterPart(nn.Module):
    """`layers` units; one set of weights for all partitions and groups, no positional encoding."""

    def __init__(self, channels: int, layers: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.units = nn.ModuleList(TransformerUnit(channels, heads, feedforward, dropout) for _ in range(layers))

    def forward(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """Relate the tokens of each sequence and average them (eq. 12): N×T×C -> f_local: N×C."""
        for unit in self.units:
            tokens = unit(tokens, valid)
        return mean_of_tokens(tokens, valid)


def mean_of_tokens(tokens: Tensor, valid: Tensor | None = None) -> Tensor:
    """Average N×T×C over its valid tokens: N×C."""
    if valid is None:
        return tokens.mean(dim=1)
    # A padded slot repeats a keypoint, which a plain mean would count twice.
    weights = valid.to(tokens.dtype)
    return (tokens * weights[:, :, None]).sum(dim=1) / weights.sum(dim=1, keepdim=True)


def stripe_tokens(features: Tensor) -> Tensor:
    """Average each row of the grid: B×C×H×W -> F_stripe: B×H×C."""
    return features.mean(dim=3).transpose(1, 2)


def patch_tokens(features: Tensor) -> Tensor:
    """Take the maximum of patches of 4×2 cells: B×C×H×W -> F_patch: B×(H/4 · W/2)×C."""
    # A grid of a small network, as the demo's, may have fewer cells than a patch.
    grid = (max(features.shape[2] // 4, 1), max(features.shape[3] // 2, 1))
    return max_pool_to(features, grid).flatten(2).transpose(1, 2)
