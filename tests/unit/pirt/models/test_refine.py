import pytest
import torch
from model_oracles import SMALL

from pirt.models import build_pirt
from pirt.models.refine import Refine


@pytest.mark.parametrize("factor", [2, 3])
def test_refining_interpolates_between_the_centres_of_cells(factor):
    features = torch.randn(2, 3, 4, 2)
    found = Refine((4, 2), factor)(features)
    assert found.shape == (2, 3, 4 * factor, 2 * factor)
    for row in range(4 * factor):
        for column in range(2 * factor):
            y = min(max((row + 0.5) / factor - 0.5, 0), 3)
            x = min(max((column + 0.5) / factor - 0.5, 0), 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, 3), min(left + 1, 1)
            upper = features[..., top, left] * (1 - x + left) + features[..., top, right] * (x - left)
            lower = features[..., bottom, left] * (1 - x + left) + features[..., bottom, right] * (x - left)
            expected = upper * (1 - y + top) + lower * (y - top)
            torch.testing.assert_close(found[..., row, column], expected, atol=1e-6, rtol=0)


def test_the_parts_see_the_finer_grid_and_the_weights_are_the_same():
    torch.manual_seed(0)
    coarse = build_pirt(5, **SMALL, image_size=(64, 32)).eval()
    torch.manual_seed(0)
    fine = build_pirt(5, **SMALL, image_size=(64, 32), refine=2).eval()
    fine.load_state_dict(coarse.state_dict())
    images, heatmaps = torch.randn(2, 3, 64, 32), torch.rand(2, 17, 16, 8)
    H, W = coarse.intra_features(images, heatmaps).shape[2:]
    assert fine.intra_features(images, heatmaps).shape[2:] == (2 * H, 2 * W)
