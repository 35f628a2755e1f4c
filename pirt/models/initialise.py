"""Initial weights of what is not loaded from ImageNet, as in the authors' program."""

from torch import nn


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
