"""Batch norm neck and identity classifiers (section 3.5)."""

import torch
from torch import Tensor, nn


class BNNeck(nn.Module):
    """One BNNeck for each of `parts` features: batch norm with a frozen bias, then a linear layer without bias.

    Their channels lie side by side in one batch norm, their weights in one tensor parts×P×C.
    """

    def __init__(self, parts: int, channels: int, num_classes: int) -> None:
        super().__init__()
        # It works channel by channel, so the parts stay as independent as with a norm each.
        self.norm = nn.BatchNorm1d(parts * channels)
        # Embeddings are compared by their angle at the origin, from which a bias would move them.
        self.norm.bias.requires_grad_(False)
        self.classifier = nn.Parameter(torch.empty(parts, num_classes, channels))
        nn.init.normal_(self.classifier, std=0.001)  # the authors'

    def forward(self, features: Tensor) -> Tensor:
        """B×parts×C -> the same, normalised: the embedding."""
        normed: Tensor = self.norm(features.flatten(1))
        return normed.view_as(features)

    def classify(self, normed: Tensor) -> Tensor:
        """Normalised B×parts×C -> logits B×parts×P."""
        return torch.einsum("bsc,spc->bsp", normed, self.classifier)
