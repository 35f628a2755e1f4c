import pytest
import torch
from model_oracles import batch_norm, randomise

from pirt.models.heads import BNNeck


@pytest.mark.parametrize("training", [True, False])
def test_parts_are_independent_necks(training):
    neck = randomise(BNNeck(3, 4, 5)).train(training)
    features = torch.randn(6, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        expected = batch_norm(features.reshape(6, 12, 1), neck.norm).view(6, 3, 4)
        normed = neck(features)
        logits = neck.classify(normed)
    assert (normed - expected).abs().max() <= 1e-9
    for b in range(6):
        for s in range(3):
            for p in range(5):
                assert abs(logits[b, s, p] - expected[b, s] @ neck.classifier[s, p]) <= 1e-9


def test_the_bias_of_the_norm_is_frozen_at_zero():
    neck = BNNeck(2, 4, 5)
    assert not neck.norm.bias.requires_grad
    assert not neck.norm.bias.any()
    neck.classify(neck(torch.randn(6, 2, 4))).sum().backward()
    assert neck.norm.bias.grad is None
