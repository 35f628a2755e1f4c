"""Every row of Table 3 can learn: 8 identities × 4 images by heart."""

import numpy as np
import pytest
import torch
from model_oracles import TABLE_3

from pirt.losses.triplet import batch_hard_triplet
from pirt.models import Pirt, build_pirt
from pirt.ranking.evaluation import Persons, evaluate
from pirt.ranking.matching import make_features
from pirt.ranking.params import EvaluateParams
from pirt.training.losses import pirt_losses

IDENTITIES, IMAGES = 8, 4
HEIGHT, WIDTH = 64, 32
# Rows of the keypoints: head, then shoulders, elbows, wrists, hips, knees, ankles.
KEYPOINT_ROWS = [6] * 5 + [14, 14, 22, 22, 30, 30, 34, 34, 46, 46, 58, 58]


def persons():
    """People in a head, upper and lower colour before backgrounds that differ more than they do."""
    generator = torch.Generator().manual_seed(3)
    colours = torch.randn(IDENTITIES, 3, 3, generator=generator)
    images = torch.randn(IDENTITIES, IMAGES, 3, 1, 1, generator=generator).repeat(1, 1, 1, HEIGHT, WIDTH) * 2
    for part, rows in enumerate((slice(2, 12), slice(12, 34), slice(34, 62))):
        images[:, :, :, rows, 8:24] = colours[:, None, part, :, None, None]
    images += torch.randn(images.shape, generator=generator) * 0.5
    images *= 0.3 + torch.rand(IDENTITIES, IMAGES, 1, 1, 1, generator=generator)
    y, x = torch.meshgrid(torch.arange(HEIGHT // 4), torch.arange(WIDTH // 4), indexing="ij")
    blobs = torch.stack(
        [
            torch.exp(-((y - row / 4) ** 2 + (x - WIDTH / 8 - side) ** 2) / 4)
            for row, side in zip(KEYPOINT_ROWS, [0, *[-1, 1] * 8], strict=True)
        ]
    )
    heatmaps = blobs.repeat(IDENTITIES, IMAGES, 1, 1, 1)
    seen = torch.rand(IDENTITIES, IMAGES, 17, 1, 1, generator=generator) < 0.7
    return images.flatten(0, 1), (heatmaps * seen).flatten(0, 1), torch.arange(IDENTITIES).repeat_interleave(IMAGES)


@torch.no_grad()
def rank_1(model: Pirt, images, heatmaps, labels) -> float:
    outputs = model.eval()(images, heatmaps)
    features = make_features(
        [outputs[name] for name in model.global_names], outputs.get("groups"), outputs.get("confidence")
    )
    everyone = Persons(features, labels.numpy() + 1, np.tile(np.arange(IMAGES), IDENTITIES))
    return min(metrics.cmc[0] for metrics in evaluate(everyone, everyone, EvaluateParams()).values())


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("row", TABLE_3)
def test_learns_a_few_persons_by_heart(row):
    torch.manual_seed(0)
    model = build_pirt(
        IDENTITIES,
        backbone="resnet18_ibn_a",
        width=16,
        strides=(1, 2, 1, 1),
        bottleneck=32,
        feedforward=64,
        confidence_hidden=32,
        **TABLE_3[row],
    )
    images, heatmaps, labels = persons()
    assert rank_1(model, images, heatmaps, labels) < 0.9
    optimizer = torch.optim.Adam([value for value in model.parameters() if value.requires_grad], lr=1e-3)
    for _ in range(60):
        model.train()
        losses = pirt_losses(
            model(images, heatmaps), labels, label_smoothing=0.1, triplet_margin=None, metric_loss=batch_hard_triplet
        )
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
    assert rank_1(model, images, heatmaps, labels) == 1.0
