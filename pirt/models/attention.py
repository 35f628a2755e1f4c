"""Multi-head self-attention (eqs. 6, 7 and 9), shared by the intra- and the inter-part module."""

from torch import Tensor, nn
from torch.nn import functional


class SelfAttention(nn.Module):
    """Scaled dot-product attention in `heads` heads: N×T×D -> N×T×D.

    `projection` is W_H of eq. 7; without it the concatenated heads are the result.
    """

    def __init__(self, channels: int, heads: int, *, bias: bool, projection: bool, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(channels, 3 * channels, bias=bias)
        self.projection = nn.Linear(channels, channels, bias=bias) if projection else nn.Identity()

    def forward(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """Attend within each of the N sequences; `valid` (N×T, bool) hides padding from all others."""
        N, T, D = tokens.shape
        # Three of N×heads×T×D/heads.
        query, key, value = self.qkv(tokens).view(N, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        # Every token may ask, only valid ones are asked: a row of padding has an answer, which nobody reads.
        mask = None if valid is None else valid[:, None, None, :]
        dropout = self.dropout if self.training else 0.0
        # Divides by √ of a head's channels, as the authors do; eq. 9 prints the root of the whole feature's.
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        joined: Tensor = self.projection(attended.transpose(1, 2).reshape(N, T, D))
        return joined
