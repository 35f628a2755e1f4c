"""Identity and triplet losses (section 3.5, eqs. 15 to 17)."""

import torch
from torch import Tensor
from torch.nn import functional


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Cross entropy with the target 1 − ε on the label and ε/(P − 1) on each other class.

    Args:
        logits: B×P, or B×G×P for G groups whose losses are averaged.
        labels: B, in 0..P−1.
        smoothing: ε.
    """
    log_probabilities = functional.log_softmax(_at_least_float32(logits), dim=-1)
    each = labels if logits.dim() == 2 else labels[:, None].expand(logits.shape[:2])
    on_target = log_probabilities.gather(-1, each[..., None]).squeeze(-1)
    off_target = log_probabilities.sum(dim=-1) - on_target
    P = logits.shape[-1]
    return -((1 - smoothing) * on_target + smoothing / max(P - 1, 1) * off_target).mean()


def batch_hard_triplet(
    anchors: Tensor, anchor_labels: Tensor, features: Tensor, labels: Tensor, margin: float | None
) -> Tensor:
    """Triplet loss with the hardest positive and negative of the batch for each anchor, averaged.

    The anchors are among the features, so an identity's only instance is its own positive at distance 0; an anchor
    without any negative adds 0. Distances are Euclidean.

    Args:
        anchors: A×C, or G×A×C for G groups that are mined on their own.
        anchor_labels: A.
        features: B×C or G×B×C, what the anchors are compared with: the batch of all processes.
        labels: B.
        margin: None for the soft margin, log(1 + exp(d_p − d_n)).
    """
    anchors, features = _at_least_float32(anchors), _at_least_float32(features)
    same = anchor_labels[:, None] == labels[None, :]
    with torch.no_grad():
        distances = torch.cdist(anchors, features, compute_mode="donot_use_mm_for_euclid_dist")
        positive = distances.masked_fill(~same, -1.0).argmax(dim=-1)
        negative = distances.masked_fill(same, torch.inf).argmin(dim=-1)
    # Only the chosen pairs' distances are differentiated: all pairs' would take A·B·C numbers.
    gap = _distances_to(anchors, features, positive) - _distances_to(anchors, features, negative)
    losses = functional.softplus(gap) if margin is None else functional.relu(gap + margin)
    return losses.masked_fill(same.all(dim=-1), 0.0).mean()


def pirt_losses(
    outputs: dict[str, Tensor],
    labels: Tensor,
    *,
    label_smoothing: float,
    triplet_margin: float | None,
    gathered: tuple[Tensor, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Add up the losses of a training step by name; "total" is eq. 17.

    Args:
        outputs: of `Pirt.forward` in training.
        labels: B.
        label_smoothing: ε of `cross_entropy`, for every classifier.
        triplet_margin: of `batch_hard_triplet`, for the groups; global features have no triplet loss.
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
        terms["groups_triplet"] = batch_hard_triplet(
            anchors.transpose(0, 1), labels, features.transpose(0, 1), feature_labels, triplet_margin
        )
    return terms | {"total": torch.stack(list(terms.values())).sum()}


def _distances_to(anchors: Tensor, features: Tensor, chosen: Tensor) -> Tensor:
    """…×A×C, …×B×C and …×A rows of the features -> …×A."""
    others = torch.take_along_dim(features, chosen[..., None], dim=-2)
    distances: Tensor = torch.linalg.vector_norm(anchors - others, dim=-1)
    return distances


def _at_least_float32(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
