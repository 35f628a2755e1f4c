"""What a step minimises: forward pass and losses as one module, to be compiled as one graph."""

import torch
from torch import Tensor, nn

from pirt.losses import metric_loss_named
from pirt.models import Pirt
from pirt.runs.params import TrainParams
from pirt.training.losses import at_least_float32, pirt_losses
from pirt.training.processes import gather_batch

TOTAL = "loss/total"
"""Key of the sum that is differentiated (eq. 17)."""


class Objective(nn.Module):
    """The network with its losses; `rank` is this process's place among `ranks` that share the global batch.

    Nothing in it waits for a GPU: no value is read, no shape depends on one, no tensor comes from the host.
    """

    def __init__(self, network: Pirt, recipe: TrainParams, rank: int = 0, ranks: int = 1) -> None:
        super().__init__()
        self.network = network
        self.recipe = recipe
        self.metric_loss = metric_loss_named(recipe.metric_loss)
        self.rank, self.ranks = rank, ranks

    def forward(self, images: Tensor, heatmaps: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Images B×3×Hi×Wi, heatmaps B×K×Hm×Wm, labels B -> "loss/…" by name and "accuracy", each one number.

        Only `TOTAL` carries a gradient.
        """
        outputs = self.network(images, heatmaps)
        # Logarithms over all identities and differences of near distances need float32's digits.
        with torch.autocast(images.device.type, enabled=False):
            outputs = {name: at_least_float32(values) for name, values in outputs.items()}
            losses = self._losses(outputs, labels)
        named = {f"loss/{name}": value if name == "total" else value.detach() for name, value in losses.items()}
        return named | {"accuracy": self._accuracy(outputs, labels)}

    def _losses(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        recipe, gathered = self.recipe, None
        if "groups_scaled" in outputs:
            # What the triplet loss mines in: group features and labels of all processes.
            gathered = self._gather(outputs["groups_scaled"]), self._gather(labels)
        return pirt_losses(
            outputs,
            labels,
            label_smoothing=recipe.label_smoothing,
            triplet_margin=recipe.triplet_margin,
            triplet_weight=recipe.triplet_weight,
            metric_loss=self.metric_loss,
            gathered=gathered,
        )

    def _gather(self, rows: Tensor) -> Tensor:
        return gather_batch(rows, self.rank, self.ranks)

    def _accuracy(self, outputs: dict[str, Tensor], labels: Tensor) -> Tensor:
        """Return the share of the batch whose identity the global classifiers name, on average."""
        logits = torch.stack([outputs[f"{name}_logits"] for name in self.network.global_names])
        return (logits.mean(dim=0).argmax(dim=1) == labels).float().mean()
