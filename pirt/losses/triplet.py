"""Batch-hard triplet loss (section 3.5, eq. 16)."""

import torch
from torch import Tensor
from torch.nn import functional


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
        # Not by ‖a‖² + ‖b‖² − 2ab, whose rounding hides the differences of near pairs.
        distances = torch.cdist(anchors, features, compute_mode="donot_use_mm_for_euclid_dist")
        # No distance is below 0, so −1 leaves the others out.
        positive = distances.masked_fill(~same, -1.0).argmax(dim=-1)
        negative = distances.masked_fill(same, torch.inf).argmin(dim=-1)
    # Only the chosen pairs' distances are differentiated: all pairs' would take A·B·C numbers.
    gap = _distances_to(anchors, features, positive) - _distances_to(anchors, features, negative)
    losses = functional.softplus(gap) if margin is None else functional.relu(gap + margin)
    # Over this process's anchors: the gradients' mean over the processes is then that of the whole batch's loss.
    return losses.masked_fill(same.all(dim=-1), 0.0).mean()


metric_loss = batch_hard_triplet  # the name by which `train.metric_loss` finds it


def _distances_to(anchors: Tensor, features: Tensor, chosen: Tensor) -> Tensor:
    """…×A×C, …×B×C and …×A rows of the features -> …×A."""
    # Whole rows: `take_along_dim` would make an index as large as the rows, and add gradients up number by number.
    starts = torch.arange(0, features[..., 0].numel(), features.shape[-2], device=chosen.device)
    rows = (chosen + starts.view(*features.shape[:-2], 1)).flatten()
    others = features.flatten(0, -2).index_select(0, rows).view_as(anchors)
    # At distance 0, as of an anchor that is its own positive, its gradient is 0; that of a plain root would be NaN.
    distances: Tensor = torch.linalg.vector_norm(anchors - others, dim=-1)
    return distances


def _at_least_float32(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
