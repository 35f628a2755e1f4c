import pytest
import torch
from model_oracles import attention, intra_part, randomise

from pirt.models.intra_part import IntraPart


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("projection", [True, False])
def test_equals_the_equations(training, projection):
    module = randomise(IntraPart(10, 8, 2, projection=projection, dropout=0.0)).train(training)
    features = torch.rand(2, 10, 3, 4, dtype=torch.float64)
    mask = torch.rand(2, 1, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        expected = intra_part(features, mask, module)
        assert (module(features, mask) - expected).abs().max() <= 1e-9


def test_stripes_do_not_see_each_other():
    module = randomise(IntraPart(10, 8, 2, projection=True, dropout=0.3)).eval()
    # Instance norm does see the whole map; without it only attention could mix rows.
    module.encode[1] = torch.nn.Identity()
    features = torch.rand(1, 10, 3, 4, dtype=torch.float64)
    changed = features.clone()
    changed[:, :, 1] += torch.rand(10, 4, dtype=torch.float64)
    mask = torch.ones(1, 1, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        difference = (module(features, mask) - module(changed, mask)).abs().amax(dim=(0, 1, 3))
    assert difference[1] > 1e-3
    assert difference[[0, 2]].max() < 1e-12


def test_dropout_is_on_the_encoded_features_not_on_the_attention():
    module = randomise(IntraPart(8, 8, 2, projection=True, dropout=1.0))
    module.norm.eval()
    module.decode.eval()
    module.encode = torch.nn.Identity()
    encoded = torch.rand(2, 8, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        attended = torch.stack(
            [
                torch.stack([attention(stripe.T, module.attention).T for stripe in image])
                for image in encoded.transpose(1, 2)
            ]
        ).transpose(1, 2)
        expected = module.decode(module.norm(attended).clamp_min(0)).clamp_min(0)
        assert (module(encoded, torch.zeros(2, 1, 3, 4).double()) - expected).abs().max() <= 1e-9


def test_the_mask_is_read_as_told():
    mask = torch.rand(3, 1, 3, 4, dtype=torch.float64)
    mask[2] = 0  # nothing seen
    expected = {reading: torch.empty_like(mask) for reading in ("raw", "normalised", "raised", "one")}
    for b in range(3):
        highest = max(value.item() for value in mask[b].flatten())
        for y in range(3):
            for x in range(4):
                value = mask[b, 0, y, x].item()
                expected["raw"][b, 0, y, x] = value
                expected["normalised"][b, 0, y, x] = value / highest if highest else 0
                expected["raised"][b, 0, y, x] = (1 + value) / 2
                expected["one"][b, 0, y, x] = 1
    features = torch.rand(3, 10, 3, 4, dtype=torch.float64)
    for reading, read in expected.items():
        module = randomise(IntraPart(10, 8, 2, projection=True, dropout=0.0, mask=reading)).eval()
        with torch.no_grad():
            assert (module(features, mask) - intra_part(features, read, module)).abs().max() <= 1e-9, reading
