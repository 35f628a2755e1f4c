"""Confidence score module, CSM (section 3.4, eqs. 13 and 14)."""

import torch
from torch import Tensor, nn


class ConfidenceScore(nn.Module):
    """How far to trust each group: a learned self-score times the heatmaps' score, L1-normalised over the groups."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, groups: Tensor, scores: Tensor) -> Tensor:
        """f_pose: B×G×C and S: B×G -> confidence: B×G, non-negative, each row summing to 1.

        The sigmoid on S_self is the authors'; it keeps the scores positive. Without any evidence (S all zero) the
        groups share the confidence evenly.
        """
        trusted = self.mlp(groups).squeeze(-1).sigmoid() * scores
        total = trusted.sum(dim=1, keepdim=True)
        # Not over 0, even where `where` takes the other branch: the gradient would be NaN.
        share = trusted / total.clamp_min(torch.finfo(total.dtype).tiny)
        return torch.where(total > 0, share, 1.0 / groups.shape[1])
