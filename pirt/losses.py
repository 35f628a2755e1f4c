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
    distances = torch.cdist(
        _at_least_float32(anchors),
        _at_least_float32(features),
        compute_mode="donot_use_mm_for_euclid_dist",
    )
    same = anchor_labels[:, None] == labels[None, :]
    hardest_positive = distances.masked_fill(~same, 0.0).amax(dim=-1)
    hardest_negative = distances.masked_fill(same, torch.inf).amin(dim=-1)
    gap = hardest_positive - hardest_negative
    losses = functional.softplus(gap) if margin is None else functional.relu(gap + margin)
    return losses.mean()


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


def _at_least_float32(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
