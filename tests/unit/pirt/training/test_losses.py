import math

import pytest
import torch
from torch.nn import functional

from pirt.losses.triplet import batch_hard_triplet
from pirt.training.losses import cross_entropy, pirt_losses


def test_cross_entropy_by_hand():
    logits = torch.tensor([[2.0, 0.0, 1.0]], dtype=torch.float64)
    log_sum = math.log(math.exp(2) + 1 + math.exp(1))
    expected = -(0.05 * (2 - log_sum) + 0.9 * (0 - log_sum) + 0.05 * (1 - log_sum))
    assert cross_entropy(logits, torch.tensor([1]), 0.1).item() == pytest.approx(expected, abs=1e-12)


def test_cross_entropy_is_pytorch_s_with_its_other_share_of_smoothing():
    logits, labels = torch.randn(8, 5, dtype=torch.float64), torch.randint(5, (8,))
    expected = functional.cross_entropy(logits, labels, label_smoothing=0.1 * 5 / 4)
    assert abs(cross_entropy(logits, labels, 0.1) - expected) <= 1e-9


def test_groups_are_averaged():
    logits, labels = torch.randn(4, 3, 5, dtype=torch.float64), torch.randint(5, (4,))
    expected = sum(cross_entropy(logits[:, g], labels, 0.1) for g in range(3)) / 3
    assert abs(cross_entropy(logits, labels, 0.1) - expected) <= 1e-9


def test_a_single_class_has_no_loss():
    assert cross_entropy(torch.randn(4, 1), torch.zeros(4, dtype=torch.long), 0.0) == 0


# Three identities on a line: distances are differences.
LINE = torch.tensor([[0.0], [1.0], [3.0], [7.0], [8.0]], dtype=torch.float64)
IDENTITIES = torch.tensor([0, 0, 1, 1, 2])


@pytest.mark.parametrize(
    ("margin", "loss"),
    [
        (None, lambda positive, negative: math.log1p(math.exp(positive - negative))),
        (0.3, lambda positive, negative: max(positive - negative + 0.3, 0.0)),
    ],
)
def test_triplet_by_hand(margin, loss):
    # Hardest positive and negative of each; the only instance of identity 2 is its own positive.
    hardest = [(1, 3), (1, 2), (4, 2), (4, 1), (0, 1)]
    expected = sum(loss(*pair) for pair in hardest) / 5
    found = batch_hard_triplet(LINE, IDENTITIES, LINE, IDENTITIES, margin)
    assert found.item() == pytest.approx(expected, abs=1e-12)


def test_ties_and_duplicates_have_finite_gradients():
    features = torch.zeros(4, 3, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1])
    loss = batch_hard_triplet(features, labels, features, labels, None)
    assert loss.item() == pytest.approx(math.log(2))
    loss.backward()
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("margin", [None, 0.3])
def test_a_batch_of_one_identity_has_no_triplet_loss(margin):
    features = torch.randn(4, 3, requires_grad=True)
    labels = torch.zeros(4, dtype=torch.long)
    loss = batch_hard_triplet(features, labels, features, labels, margin)
    loss.backward()
    assert loss == 0
    assert not features.grad.any()


def test_anchors_mine_in_the_gathered_batch():
    found = batch_hard_triplet(LINE[:2], IDENTITIES[:2], LINE, IDENTITIES, 3.0)
    assert found.item() == pytest.approx(((1 - 3 + 3) + (1 - 2 + 3)) / 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    features, labels = torch.randn(6, 4).to(dtype), torch.tensor([0, 0, 1, 1, 2, 2])
    found = batch_hard_triplet(features, labels, features, labels, None)
    assert found == batch_hard_triplet(features.float(), labels, features.float(), labels, None)
    assert found.dtype == cross_entropy(features, labels, 0.1).dtype == torch.float32


def outputs_of_a_step():
    return {
        "stripe_logits": torch.randn(4, 5, dtype=torch.float64),
        "patch_logits": torch.randn(4, 5, dtype=torch.float64),
        "groups_logits": torch.randn(4, 3, 5, dtype=torch.float64),
        "groups_scaled": torch.randn(4, 3, 6, dtype=torch.float64),
    }


def test_the_total_is_equation_17():
    outputs, labels = outputs_of_a_step(), torch.tensor([0, 0, 1, 1])
    found = pirt_losses(outputs, labels, label_smoothing=0.1, triplet_margin=0.3, metric_loss=batch_hard_triplet)
    local = sum(
        cross_entropy(outputs["groups_logits"][:, g], labels, 0.1)
        + batch_hard_triplet(outputs["groups_scaled"][:, g], labels, outputs["groups_scaled"][:, g], labels, 0.3)
        for g in range(3)
    )
    whole = sum(cross_entropy(outputs[f"{name}_logits"], labels, 0.1) for name in ("stripe", "patch"))
    assert abs(found["total"] - (local / 3 + whole)) <= 1e-9
    assert list(found) == [
        "stripe_cross_entropy",
        "patch_cross_entropy",
        "groups_cross_entropy",
        "groups_triplet",
        "total",
    ]


def test_the_triplet_s_weight_is_in_the_total_alone():
    outputs, labels = outputs_of_a_step(), torch.tensor([0, 0, 1, 1])
    whole, half = (
        pirt_losses(
            outputs,
            labels,
            label_smoothing=0.1,
            triplet_margin=None,
            metric_loss=batch_hard_triplet,
            triplet_weight=weight,
        )
        for weight in (1.0, 0.5)
    )
    assert half["groups_triplet"] == whole["groups_triplet"]
    assert abs(half["total"] - (whole["total"] - whole["groups_triplet"] / 2)) <= 1e-9


def test_the_baseline_has_cross_entropy_only():
    found = pirt_losses(
        {"global_logits": torch.randn(4, 5)},
        torch.tensor([0, 0, 1, 1]),
        label_smoothing=0.1,
        triplet_margin=None,
        metric_loss=batch_hard_triplet,
    )
    assert list(found) == ["global_cross_entropy", "total"]
    assert found["total"] == found["global_cross_entropy"]


def test_processes_average_to_the_loss_of_the_whole_batch():
    outputs, labels = outputs_of_a_step(), torch.tensor([0, 1, 0, 1])
    gathered = outputs["groups_scaled"], labels
    halves = [
        pirt_losses(
            {name: value[part] for name, value in outputs.items()},
            labels[part],
            label_smoothing=0.1,
            triplet_margin=None,
            metric_loss=batch_hard_triplet,
            gathered=gathered,
        )["total"]
        for part in (slice(0, 2), slice(2, 4))
    ]
    whole = pirt_losses(outputs, labels, label_smoothing=0.1, triplet_margin=None, metric_loss=batch_hard_triplet)[
        "total"
    ]
    assert abs(sum(halves) / 2 - whole) <= 1e-9
