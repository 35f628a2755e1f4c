"""The optimizer of the parameters, with the learning rates of the backbone's layers."""

from typing import Any

import torch

from pirt.models import Pirt
from pirt.runs.params import TrainParams

SCALE = "scale"
"""Key of a parameter group: its share of the schedule's learning rate."""


def make_optimizer(network: Pirt, recipe: TrainParams) -> torch.optim.Optimizer:
    """Return the optimizer of all parameters that learn, in groups of one learning rate each.

    Fused is one kernel for many parameters on a GPU. On a CPU it takes square roots as the processor does; PyTorch's
    plain optimizers take MKL's, which processors of different makers round differently.
    """
    groups = parameter_groups(network, recipe.layer_decay)
    match recipe.optimizer:
        case "adam":
            return torch.optim.Adam(groups, recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
        case "sgd":
            rate, momentum = recipe.learning_rate, recipe.momentum
            return torch.optim.SGD(groups, rate, momentum=momentum, weight_decay=recipe.weight_decay, fused=True)


def parameter_groups(network: Pirt, decay: float) -> list[dict[str, Any]]:
    """Return the learning parameters by their share of the rate: `decay` for each layer below the heads."""
    backbone, by_scale = network.backbone, dict[float, list[torch.nn.Parameter]]()
    for name, parameter in network.named_parameters():
        # Frozen are the necks' biases and SOLIDER's semantic layers.
        if parameter.requires_grad:
            inside = name.startswith("backbone.")
            below = backbone.last_layer - backbone.layer_of(name.removeprefix("backbone.")) if inside else 0
            # Biases learn at the rate of weights, where TransReID gives them twice that.
            by_scale.setdefault(decay**below, []).append(parameter)
    return [{"params": parameters, SCALE: scale} for scale, parameters in by_scale.items()]


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set every group's learning rate to its share of `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group[SCALE]


def take_up(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Go on with the moments of an optimizer's `state_dict`, those of another kind of device too.

    A GPU's convolutions have their channels last in memory, a CPU's do not, and a state keeps the order that it was
    saved in. Fused kernels walk through parameters and moments side by side: a GPU's refuse another order, a CPU's
    would give each weight the moments of others.
    """
    optimizer.load_state_dict(state)
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)
