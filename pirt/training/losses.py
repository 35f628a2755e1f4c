"""Identity losses and the sum of all losses (section 3.5, eqs. 15 and 17)."""

import torch
from torch import Tensor
from torch.nn import functional

from pirt.losses import MetricLoss


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Cross entropy with the target 1 − ε on the label and ε/(P − 1) on each other class.

    Args:
        logits: B×P, or B×G×P for G groups whose losses are averaged.
        labels: B, in 0..P−1.
        smoothing: ε.
    """
    # Not PyTorch's own smoothing, which spreads ε over all P classes, the label's among them.
    log_probabilities = functional.log_softmax(at_least_float32(logits), dim=-1)
    each = labels if logits.dim() == 2 else labels[:, None].expand(logits.shape[:2])
    on_target = log_probabilities.gather(-1, each[..., None]).squeeze(-1)
    off_target = log_probabilities.sum(dim=-1) - on_target
    P = logits.shape[-1]
    return -((1 - smoothing) * on_target + smoothing / max(P - 1, 1) * off_target).mean()


def pirt_losses(
    outputs: dict[str, Tensor],
    labels: Tensor,
    *,
    label_smoothing: float,
    triplet_margin: float | None,
    triplet_weight: float = 1.0,
    metric_loss: MetricLoss,
    gathered: tuple[Tensor, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Add up the losses of a training step by name; "total" is eq. 17.

    Args:
        outputs: of `Pirt.forward` in training.
        labels: B.
        label_smoothing: ε of `cross_entropy`, for every classifier.
        triplet_margin: of `metric_loss`.
        triplet_weight: of `metric_loss` in the total.
        metric_loss: for the groups; global features have none.
        gathered: "groups_scaled" (N×G×C) and labels (N) of all processes, to mine in; by default this batch's own.
    """
    terms = {
        f"{name.removesuffix('_logits')}_cross_entropy": cross_entropy(logits, labels, label_smoothing)
        for name, logits in outputs.items()
        if name.endswith("_logits")
    }
    if "groups_scaled" in outputs:
        anchors = outputs["groups_scaled"]
        features, feature_labels = gathered or (anchors, labels)
        terms["groups_triplet"] = metric_loss(
            anchors.transpose(0, 1), labels, features.transpose(0, 1), feature_labels, triplet_margin
        )
    weighted = [triplet_weight * term if name == "groups_triplet" else term for name, term in terms.items()]
    return terms | {"total": torch.stack(weighted).sum()}


def at_least_float32(values: Tensor) -> Tensor:
    """Return half-precision values in float32, others as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
