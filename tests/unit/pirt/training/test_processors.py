"""Training, embedding and matching call no function that processors of different makers round differently."""

import pytest
import torch
from mkl_functions import MklFunctions
from tiny_runs import SMALL

from pirt.models import build_pirt
from pirt.ranking.matching import (
    CONFIDENCE_MODES,
    coarse_to_fine,
    fully,
    global_distances,
    make_features,
)
from pirt.runs.params import TrainParams
from pirt.training.objective import TOTAL, Objective
from pirt.training.optimizer import make_optimizer

IMAGE_SIZE = (64, 32)
BACKBONES = {
    "resnet18_ibn_a": SMALL.model_dump(exclude={"backbone"}),
    "vit_small": {"backbone_options": {"depth": 1}},
    "swin_tiny": {"backbone_options": {"depths": [1, 1, 1, 1]}},
}


def batch():
    generator = torch.Generator().manual_seed(1)
    heatmaps = torch.rand(4, 17, 16, 8, generator=generator).pow(8)
    return torch.randn(4, 3, *IMAGE_SIZE, generator=generator), heatmaps, torch.arange(4) // 2


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_step(backbone, optimizer):
    recipe = TrainParams(image_size=IMAGE_SIZE, optimizer=optimizer)
    objective = Objective(build_pirt(5, backbone=backbone, image_size=IMAGE_SIZE, **BACKBONES[backbone]), recipe)
    learning = make_optimizer(objective.network, recipe)
    with MklFunctions() as mkl:
        objective(*batch())[TOTAL].backward()
        learning.step()
    assert mkl.called == set()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_embedding(backbone):
    network = build_pirt(5, backbone=backbone, image_size=IMAGE_SIZE, **BACKBONES[backbone]).eval()
    images, heatmaps, _ = batch()
    with torch.inference_mode(), MklFunctions() as mkl:
        network(images, heatmaps)
    assert mkl.called == set()


@pytest.mark.parametrize("kind", ["euclidean", "cosine"])
def test_matching(kind):
    torch.manual_seed(0)
    query, gallery = (make_features([torch.randn(M, 4)], torch.randn(M, 3, 4), torch.rand(M, 3)) for M in (2, 6))
    coarse = global_distances(query, gallery)
    with MklFunctions() as mkl:
        assert len(list(fully(query, gallery, coarse, CONFIDENCE_MODES, kind))) == len(CONFIDENCE_MODES)
        assert len(list(coarse_to_fine(query, gallery, coarse, coarse, 4, CONFIDENCE_MODES, kind)))
    assert mkl.called == set()


def test_a_root_of_pytorch_is_noticed():
    with MklFunctions() as mkl:
        torch.rand(3).sqrt_()
    assert mkl.called == {"sqrt_"}
