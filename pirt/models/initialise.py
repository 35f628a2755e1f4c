"""Initial weights of what is not loaded from ImageNet, as in the authors' program."""

import math

from torch import nn

from pirt.models.inter_part import InterPart
from pirt.models.intra_part import IntraPart


def init_intra_part(module: IntraPart) -> None:
    """Draw the IRM's weights; the authors' q, k and v are 1×1 convolutions D→D, and W_H is drawn like them."""
    module.apply(init_weights)
    for layer in module.attention.modules():
        if isinstance(layer, nn.Linear):
            # Not by kaiming_normal_, which would take the 3·D rows of q, k and v together for the fan-out of each.
            nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.in_features))


def init_inter_part(module: InterPart) -> None:
    """Draw the IRT's weights; q, k and v are drawn once, together as a 3C×C matrix, and equal in all units.

    The authors' units are deep copies of one PyTorch layer, whose q, k and v keep that layer's draw.
    """
    module.apply(init_weights)
    first, *others = (value for name, value in module.named_parameters() if name.endswith("qkv.weight"))
    nn.init.xavier_uniform_(first)
    for weight in others:
        weight.data.copy_(first)


def init_weights(module: nn.Module) -> None:
    """Draw one layer's weights; meant for `nn.Module.apply`.

    Convolutions are Kaiming (fan-out), linear layers N(0, 0.01), batch norm weights N(1, 0.02); biases are zero.
    """
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        nn.init.normal_(module.weight, mean=1.0, std=0.02)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
