"""Several processes that train as one would on the same global batch."""

import os
from pathlib import Path
from typing import Any, Literal, Self

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.plugins import Precision as FabricPrecision
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn

from pirt.core.errors import CheckpointError, ParamsError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "bfloat16", "float16"]


class Autocast(MixedPrecision):
    """Mixed precision that leaves the inputs alone: heatmaps near τ would change sides in bfloat16."""

    def convert_input(self, data: Any) -> Any:
        """Return `data`."""
        return data


def launch(device: Device, precision: Precision) -> Fabric:
    """Join the processes that torchrun started, one a GPU; without torchrun there is this process alone."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ParamsError("device 'cuda' is asked for, but PyTorch sees no GPU; use --device auto or cpu")
    accelerator = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    # Job schedulers set WORLD_SIZE too, for programs that they start once.
    together = dist.is_torchelastic_launched()
    processes = int(os.environ["WORLD_SIZE"]) if together else 1
    on_this_node = int(os.environ["LOCAL_WORLD_SIZE"]) if together else 1
    if accelerator == "cuda" and on_this_node > torch.cuda.device_count():
        raise ParamsError(
            f"{on_this_node} processes were started for {torch.cuda.device_count()} GPUs; start one per GPU"
        )
    if precision == "float16" and accelerator == "cpu":
        raise ParamsError("train.precision float16 needs a GPU; take bfloat16 or float32")
    if precision == "bfloat16" and accelerator == "cuda" and not torch.cuda.is_bf16_supported(False):
        raise ParamsError(
            "train.precision bfloat16 needs a GPU of the Ampere generation or a later one, "
            f"{torch.cuda.get_device_name()} is neither; take float16 or float32"
        )
    fabric = Fabric(
        accelerator=accelerator,
        devices=on_this_node,
        num_nodes=processes // on_this_node,
        strategy=_together() if processes > 1 else "auto",
        # Said here, since Fabric by itself asks SLURM, LSF and MPI too, and fails where a job has several tasks.
        plugins=[
            _precision(precision, accelerator),
            TorchElasticEnvironment() if together else LightningEnvironment(),
        ],
    )
    fabric.launch()
    return fabric


def _together() -> DDPStrategy:
    # Every process computes the same statistics (`share_batch_norm`), and gradients need not lie in memory twice.
    return DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True)


def require_seen_alike(fabric: Fabric, number: int, out: Path) -> None:
    """Raise CheckpointError unless all processes have read the same `number` off what lies at `out` and beside it.

    Each reads by itself how far the training is. Where a node has files of its own, its processes would go on from
    other weights, and the mean of their gradients would look like any other.
    """
    if fabric.world_size == 1:
        return
    extremes = torch.tensor([number, -number], device=fabric.device)
    dist.all_reduce(extremes, dist.ReduceOp.MAX)
    highest, lowest = extremes.tolist()
    if highest != -lowest:
        raise CheckpointError(
            f"the processes of this training find different files at {out} and {out}.resume; put them where all nodes "
            "see the same"
        )


def mean_over_processes(fabric: Fabric, values: Tensor) -> Tensor:
    """Average `values` in place over the processes.

    Fabric's own reduction begins with a barrier, at which a GPU would wait for the slowest process in every step.
    """
    if fabric.world_size > 1:
        dist.all_reduce(values)
        values /= fabric.world_size
    return values


def _precision(precision: Precision, accelerator: str) -> FabricPrecision:
    match precision:
        case "bfloat16":
            return Autocast("bf16-mixed", accelerator)
        case "float16":
            return Autocast("16-mixed", accelerator)
    return FabricPrecision()


class SumOverProcesses(torch.autograd.Function):
    """The sum of every process's tensor; its gradient is the sum of every process's gradient."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        """Return the sum, on every process."""
        # A contiguous copy: all_reduce writes into its argument, and takes no other layout.
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return what all losses together ask of this process's tensor."""
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


def gather_batch(rows: Tensor, rank: int, ranks: int) -> Tensor:
    """B×… of each process -> the global batch, in the order of the processes; gradients flow to all of them."""
    if ranks == 1:
        return rows
    # Each process fills its own place with its rows and the others with zeros: then the sum, which carries gradients,
    # puts the batch together.
    places = torch.arange(ranks, device=rows.device) == rank
    padded = rows[None] * places.to(rows.dtype).view(-1, *[1] * rows.dim())
    return _sum(padded).flatten(0, 1)


def share_batch_norm(network: nn.Module, synchronised: bool) -> None:
    """Let every batch norm below `network` see the global batch; names and values of its state dict stay.

    `synchronised` takes PyTorch's SyncBatchNorm, which wants GPUs, cannot be compiled into one graph, and makes the
    host wait for the GPU in every layer. Without kernels of its own `GlobalBatchNorm` is slower unless compiled.
    """
    if synchronised:
        nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return
    # As a list, for the modules change on the way.
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                setattr(module, name, GlobalBatchNorm.like(child))


class GlobalBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the global batch out of plain operations, for CPUs and compiled graphs."""

    @classmethod
    def like(cls, norm: nn.modules.batchnorm._BatchNorm) -> Self:
        """Return one that shares the parameters and statistics of `norm`."""
        made = cls(norm.num_features, norm.eps, norm.momentum)
        made.weight, made.bias = norm.weight, norm.bias
        made.running_mean, made.running_var = norm.running_mean, norm.running_var
        made.num_batches_tracked = norm.num_batches_tracked
        return made

    def _check_input_dim(self, input: Tensor) -> None:
        """Take features of any number of dimensions."""

    def forward(self, features: Tensor) -> Tensor:
        """B×C or B×C×H×W -> the same shape."""
        if not self.training:
            return super().forward(features)
        C = features.shape[1]
        # Sums over a whole batch need float32's digits.
        rows = features.float() if features.dtype in (torch.bfloat16, torch.float16) else features
        rows = rows.transpose(0, 1).reshape(C, -1)
        count = rows.shape[1] * dist.get_world_size()
        mean = _sum(rows.sum(dim=1)) / count
        # A second reduction, since the mean of squares less the square of the mean would cancel digits.
        variance = _sum((rows - mean[:, None]).square().sum(dim=1)) / count
        # PyTorch normalises by the biased variance and keeps the unbiased one.
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        shape = (1, C, *[1] * (features.dim() - 2))
        scale = self.weight * (variance + self.eps).rsqrt()
        normed = (features - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)
        return normed.to(features.dtype)

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


def _sum(tensor: Tensor) -> Tensor:
    total: Tensor = SumOverProcesses.apply(tensor)  # type: ignore[no-untyped-call]
    return total
