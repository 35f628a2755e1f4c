"""ResNets come out as they did before there were other backbones: numbers recorded with the code of that time.

In float64 and with a tolerance, since sums round otherwise on other processors.
"""

import hashlib

import pytest
import torch
from torch import Tensor

from pirt.models import build_pirt

SMALL = {"width": 4, "strides": (1, 2, 1, 1), "bottleneck": 8, "intra_heads": 2, "inter_heads": 2, "feedforward": 8}
SMALL |= {"confidence_hidden": 4}
NAMES = {
    "resnet18_ibn_a": "5d95b1bf36ce2a12e57d1427a75d1c208ece277112d580b2965ae813c31bd708",
    "resnet50_ibn_a": "acb96cf028f6ffe90bd8cf4776c02589bf62566076fb5d89430b25e8082d5d62",
}
"""SHA-256 of every name and shape of the state dict, in order."""
DRAWN = {
    "resnet18_ibn_a": {
        "backbone": 0.0841769887310658,
        "intra": 0.33028824411245555,
        "inter": 0.08216179554673658,
        "confidence": 0.08911527730278114,
        "global_neck": 0.14322500616430262,
        "group_neck": 0.14328476292914719,
    },
    "resnet50_ibn_a": {
        "backbone": 0.1350956668658272,
        "intra": 0.27730853798102356,
        "inter": 0.04473621090639711,
        "confidence": 0.046644100055551904,
        "global_neck": 0.14379080906569428,
        "group_neck": 0.14345144639457563,
    },
}
"""Mean absolute value of what the seed 7 draws, by part."""
OUTPUTS = {
    "resnet18_ibn_a": {
        "stripe": (4.134238359226178, 1.9501880507490044, 2.3193811559170676),
        "patch": (3.131655813446535, 0.7776795071336978, 2.184700007918848),
        "groups": (1.239411650794683, 0.9364621219792663, 1.3092590762587355),
        "confidence": (0.33333406617264033, 0.33333359367905385, 0.3333333333333333),
    },
    "resnet50_ibn_a": {
        "stripe": (0.06968120137432356, -2.0452887869296728, 2.455466894628316),
        "patch": (-0.7066029223812033, -2.135661522453908, 0.9027784438379204),
        "groups": (-0.004339567746154533, -2.1147752606733508, 1.4212069694047287),
        "confidence": (0.33333406617264066, 0.33333359367905385, 0.3333333333333333),
    },
}
"""First and last number, and mean absolute value, of what weights by rule make of inputs by rule."""


def wave(shape: torch.Size | tuple[int, ...], phase: float) -> Tensor:
    """Numbers by rule, which no generator draws: a slow sine over all places."""
    places = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return torch.sin(0.37 * places + phase).reshape(shape)


def by_rule(name: str, value: Tensor, place: int) -> Tensor:
    if not value.is_floating_point():
        return value
    if name.endswith("running_var") or (name.endswith("weight") and value.dim() == 1):
        return 1 + 0.3 * wave(value.shape, place)
    return wave(value.shape, place) * (3 / max(value[0].numel(), 1)) ** 0.5


@pytest.mark.parametrize("backbone", NAMES)
def test_names_and_shapes(backbone):
    text = "\n".join(f"{name} {tuple(value.shape)}" for name, value in _built(backbone).state_dict().items())
    assert hashlib.sha256(text.encode()).hexdigest() == NAMES[backbone]


@pytest.mark.parametrize("backbone", NAMES)
def test_initial_weights(backbone):
    torch.manual_seed(7)
    found = {}
    for part, module in _built(backbone).named_children():
        values = [value.double().abs().flatten() for value in module.parameters()]
        if values:
            found[part] = torch.cat(values).mean().item()
    assert found == pytest.approx(DRAWN[backbone], rel=1e-5)


@pytest.mark.parametrize("backbone", NAMES)
def test_outputs_of_weights_by_rule(backbone):
    model = _built(backbone).double().eval()
    state = model.state_dict()
    model.load_state_dict({name: by_rule(name, state[name], place) for place, name in enumerate(state)})
    with torch.no_grad():
        outputs = model(wave((2, 3, 64, 32), 1), wave((2, 17, 16, 8), 2).abs() ** 4)
    assert outputs.keys() == OUTPUTS[backbone].keys()
    for name, value in outputs.items():
        found = (value.flatten()[0].item(), value.flatten()[-1].item(), value.abs().mean().item())
        assert found == pytest.approx(OUTPUTS[backbone][name], rel=1e-8, abs=1e-12), name


def _built(backbone):
    return build_pirt(5, backbone=backbone, inter_layers=2, **SMALL)
