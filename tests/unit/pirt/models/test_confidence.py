import math

import torch
from model_oracles import randomise

from pirt.models.confidence import ConfidenceScore


def confidence_of(groups, scores):
    return randomise(ConfidenceScore(6, 4))(groups, scores)


def test_is_the_self_score_times_the_heatmap_score_shared_out():
    module = randomise(ConfidenceScore(6, 4))
    groups = torch.randn(2, 3, 6, dtype=torch.float64)
    scores = torch.rand(2, 3, dtype=torch.float64)
    found = module(groups, scores)
    first, last = module.mlp[0], module.mlp[2]
    for b in range(2):
        trusted = []
        for g in range(3):
            hidden = (first.weight @ groups[b, g] + first.bias).clamp_min(0)
            self_score = (last.weight[0] @ hidden + last.bias[0]).item()
            trusted.append(scores[b, g] / (1 + math.exp(-self_score)))
        for g in range(3):
            assert abs(found[b, g] - trusted[g] / sum(trusted)) <= 1e-9


def test_no_evidence_is_shared_evenly_and_its_gradient_is_finite():
    groups = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)
    scores = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.5, 0.0]], dtype=torch.float64)
    found = confidence_of(groups, scores)
    assert torch.equal(found[0], torch.full((3,), 1 / 3, dtype=torch.float64))
    assert torch.equal(found[1], torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    (found * torch.rand_like(found)).sum().backward()
    assert groups.grad.isfinite().all()


def test_the_faintest_scores_still_sum_to_one():
    found = confidence_of(torch.randn(1, 3, 6, dtype=torch.float64), torch.full((1, 3), 1e-30).double())
    assert abs(found.sum() - 1) <= 1e-9
