import math

import pytest
import torch

from pirt.core.errors import DataError
from pirt.ranking.evaluation import Persons, evaluate
from pirt.ranking.matching import (
    CONFIDENCE_MODES,
    Features,
    coarse_to_fine,
    group_weights,
    make_features,
    parts_of,
)
from pirt.ranking.params import EvaluateParams


def features(count: int, seed: int, parts: bool = True) -> Features:
    generator = torch.Generator().manual_seed(seed)
    stripe, patch = torch.randn(2, count, 8, generator=generator)
    if not parts:
        return make_features([stripe])
    groups = torch.randn(count, 3, 8, generator=generator)
    return make_features([stripe, patch], groups, torch.full((count, 3), 1 / 3))


def test_features_have_unit_length_and_zeros_stay():
    made = make_features([torch.tensor([[3.0, 4.0], [0.0, 0.0]])])
    assert made.globals.flatten().tolist() == pytest.approx([0.6, 0.8, 0.0, 0.0])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("place", range(3))
def test_features_that_are_not_finite_are_refused(bad, place):
    parts = [torch.ones(3, 8), torch.ones(3, 3, 8), torch.ones(3, 3)]
    parts[place][1] = bad
    with pytest.raises(DataError, match="features of image 1 are not finite"):
        make_features([torch.ones(3, 8), parts[0]], *parts[1:])


def test_weights_of_each_mode():
    query, gallery = torch.tensor([0.25]), torch.tensor([0.16])
    found = {mode: group_weights(query, gallery, mode, 3).item() for mode in CONFIDENCE_MODES}
    assert found == pytest.approx({"query-gallery": 0.2, "query": 0.5, "gallery": 0.4, "none": 1.0, "even": 1 / 3})


def test_top_images_rank_before_all_others():
    query, gallery = features(4, 0), features(50, 1)
    distances = torch.rand(4, 50)
    before = distances.clone()
    (ranking,) = coarse_to_fine(query, gallery, distances, distances, 10, ["none"], "euclidean")
    top = before.topk(10, largest=False).indices
    assert (ranking.gather(1, top).sort(dim=1).values == torch.arange(-10.0, 0)).all()
    assert (ranking >= 0).sum() == 4 * 40


def test_models_without_parts_are_matched_globally():
    query, gallery = features(3, 0, parts=False), features(9, 1, parts=False)
    labels = torch.arange(3).numpy(), torch.zeros(3, dtype=torch.int64).numpy()
    gallery_labels = torch.arange(9).numpy() % 3, torch.ones(9, dtype=torch.int64).numpy()
    persons = Persons(query, *labels), Persons(gallery, *gallery_labels)
    assert list(evaluate(*persons, EvaluateParams())) == ["none"]
    with pytest.raises(ValueError, match="no part groups"):
        parts_of(query)


def test_progress_counts_every_query():
    told = []
    labels = torch.arange(3).numpy(), torch.zeros(3, dtype=torch.int64).numpy()
    persons = Persons(features(3, 0), *labels)
    gallery = Persons(features(3, 1), labels[0], labels[1] + 1)
    evaluate(persons, gallery, EvaluateParams(), progress=told.append)
    assert sum(told) == 3
