import pytest
import torch
from model_oracles import pooled_heatmaps

from pirt.models.part_groups import named_groups
from pirt.models.part_masks import PartGroups, human_mask, keypoint_features, pool_heatmaps


def test_pooling_takes_the_maximum_of_each_window():
    heatmaps = torch.rand(2, 17, 12, 8, dtype=torch.float64)
    assert torch.equal(pool_heatmaps(heatmaps, (3, 2)), pooled_heatmaps(heatmaps, 3, 2))


@pytest.mark.parametrize("grid", [(6, 3), (5, 7), (64, 48), (80, 60)])
def test_pooling_takes_any_heatmap_grid_and_misses_no_peak(grid):
    heatmaps = torch.rand(1, 17, 64, 48)
    pooled = pool_heatmaps(heatmaps, grid)
    assert pooled.shape == (1, 17, *grid)
    assert torch.equal(pooled.amax(dim=(2, 3)), heatmaps.amax(dim=(2, 3)))


def test_human_mask_is_the_maximum_over_keypoints():
    pooled = torch.rand(2, 17, 3, 2)
    mask = human_mask(pooled)
    for b in range(2):
        for y in range(3):
            for x in range(2):
                assert mask[b, 0, y, x] == max(pooled[b, k, y, x] for k in range(17))


def test_keypoint_features_average_over_the_whole_grid_and_threshold_strictly():
    features = torch.arange(1.0, 9.0).view(1, 2, 2, 2)
    pooled = torch.tensor([[[[0.001, 0.0011], [0.0, 0.9]], [[0.0, 0.0], [0.0, 0.0]]]])
    found = keypoint_features(features, pooled, tau=0.001)
    assert torch.equal(found, torch.tensor([[[(2 + 4) / 4, (6 + 8) / 4], [0.0, 0.0]]]))


@pytest.mark.parametrize("grouping", ["paper", "authors", {"left": [5, 7, 9], "nose": [0]}, {"all": range(17)}])
def test_group_scores_and_tokens_follow_the_groups(grouping):
    groups = PartGroups(named_groups(grouping))
    pooled = torch.rand(2, 17, 3, 2)
    features = torch.rand(2, 17, 5)
    scores, tokens = groups.scores(pooled), groups.tokens(features)
    for b in range(2):
        for g, (name, group) in enumerate(named_groups(grouping)):
            assert groups.names[g] == name
            assert scores[b, g] == max(pooled[b, k].max() for k in group)
            assert torch.equal(tokens[b, g][groups.valid[g]], features[b, list(group)])


def test_group_tables_are_not_part_of_a_checkpoint():
    assert PartGroups(named_groups("paper")).state_dict() == {}
