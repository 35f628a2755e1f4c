"""Losses equal plain loops on any batch: ties, duplicates, single instances and lonely identities included."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pirt.losses.triplet import batch_hard_triplet
from pirt.training.losses import cross_entropy


def triplet_by_loops(anchors, anchor_labels, features, labels, margin):
    total = 0.0
    for anchor, label in zip(anchors, anchor_labels, strict=True):
        distances = [math.dist(anchor.tolist(), other.tolist()) for other in features]
        positive = max((d for d, other in zip(distances, labels, strict=True) if other == label), default=0.0)
        negatives = [d for d, other in zip(distances, labels, strict=True) if other != label]
        if not negatives:
            continue
        gap = positive - min(negatives)
        total += math.log1p(math.exp(gap)) if margin is None else max(gap + margin, 0.0)
    return total / len(anchors)


def cross_entropy_by_loops(logits, labels, smoothing):
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        log_sum = math.log(sum(math.exp(value) for value in row))
        for p, value in enumerate(row):
            target = 1 - smoothing if p == label else smoothing / (len(row) - 1)
            total -= target * (value - log_sum)
    return total / len(logits)


# Whole numbers make ties and duplicates common.
coordinates = st.integers(-3, 3)


@st.composite
def batches(draw):
    size = draw(st.integers(1, 7))
    channels = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    values = draw(st.lists(coordinates, min_size=groups * size * channels, max_size=groups * size * channels))
    labels = draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    return torch.tensor(values, dtype=torch.float64).view(groups, size, channels), torch.tensor(labels)


@settings(deadline=None)
@given(batches(), st.sampled_from([None, 0.3, 2.0]), st.data())
def test_batch_hard_triplet(batch, margin, data):
    features, labels = batch
    local = data.draw(st.integers(1, len(labels)), label="anchors of this process")
    features.requires_grad_()
    found = batch_hard_triplet(features[:, :local], labels[:local], features, labels, margin)
    by_loops = [triplet_by_loops(group[:local], labels[:local], group, labels, margin) for group in features]
    assert abs(found.item() - sum(by_loops) / len(by_loops)) <= 1e-9
    found.backward()
    assert features.grad.isfinite().all()


@settings(deadline=None)
@given(batches(), st.floats(0, 1))
def test_cross_entropy(batch, smoothing):
    features, labels = batch
    logits = torch.cat([features, features.new_zeros(*features.shape[:2], 4)], dim=2).transpose(0, 1)
    by_loops = [cross_entropy_by_loops(logits[:, g], labels, smoothing) for g in range(logits.shape[1])]
    assert abs(cross_entropy(logits, labels, smoothing).item() - sum(by_loops) / len(by_loops)) <= 1e-9
