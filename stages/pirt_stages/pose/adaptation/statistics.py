"""Batch-norm statistics of a network over many images, without momentum: every image counts the same."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import local

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pirt.core.errors import CheckpointError


@dataclass(frozen=True)
class Moments:
    """Of what one batch norm normalises: values a channel, and their mean and mean square, C each in float64."""

    count: int
    mean: Tensor
    mean_square: Tensor

    def __add__(self, other: "Moments") -> "Moments":
        """Return the moments of both sets of values together."""
        count = self.count + other.count
        ours, theirs = self.count / count, other.count / count
        return Moments(
            count, self.mean * ours + other.mean * theirs, self.mean_square * ours + other.mean_square * theirs
        )

    @property
    def variance(self) -> Tensor:
        """The unbiased variance, which is what PyTorch keeps as `running_var`."""
        # A difference of near numbers, for which float64 has digits enough.
        return (self.mean_square - self.mean.square()) * (self.count / (self.count - 1))


MomentsByName = dict[str, Moments]


def normalising_by_batch(network: nn.Module) -> Callable[[Tensor], MomentsByName]:
    """Let the batch norms of `network` use each batch's own statistics, as in training, and return what collects them.

    The returned function runs images B×3×Hi×Wi through the network. It writes nothing into the network, so several
    threads may run it at once. The rest of the network stays in evaluation mode: dropout would be noise here.
    """
    norms = _batch_norms(network)
    if not norms:
        raise CheckpointError("the network has no batch norm, so there is nothing to adapt; extract with it as it is")
    seen = local()
    network.eval()
    for name, norm in norms.items():
        norm.train()
        norm.track_running_stats = False  # reads and writes no running statistics
        norm.register_forward_pre_hook(_telling(name, seen))

    @torch.inference_mode()
    def moments_of(images: Tensor) -> MomentsByName:
        seen.moments = {}
        network(images)
        found: MomentsByName = seen.moments
        return found

    return moments_of


def write_statistics(network: nn.Module, moments: MomentsByName, batches: int) -> None:
    """Put the mean and variance of `moments` into the batch norms of `network`; one that never ran keeps its own."""
    norms = _batch_norms(network)
    for name, found in moments.items():
        norm = norms[name]
        for buffer, value in ((norm.running_mean, found.mean), (norm.running_var, found.variance)):
            assert buffer is not None
            buffer.copy_(value)
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.fill_(batches)


def _batch_norms(network: nn.Module) -> dict[str, _BatchNorm]:
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }


def _telling(name: str, seen: local) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def tell(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0]
        over = [axis for axis in range(values.dim()) if axis != 1]
        # The mean square comes from the variance: summed up in float32 it would lose a small one beside a large mean.
        variance, mean = (part.double().cpu() for part in torch.var_mean(values, over, correction=0))
        found = Moments(values.numel() // values.shape[1], mean, variance + mean.square())
        # A norm that is called twice in one pass normalises both.
        seen.moments[name] = seen.moments[name] + found if name in seen.moments else found

    return tell
