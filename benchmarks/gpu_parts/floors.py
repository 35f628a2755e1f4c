"""What the device reaches at best, and what a training step needs of it at least."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from gpu_parts.machine import Machine, Sizes
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.models import Pirt
from pirt.runs.precision import tf32
from pirt.runs.run import build_model

ADAMS_PASSES = 7
"""Over the float32 parameters: weights, gradients and both moments are read, all but the gradients written."""


@dataclass(frozen=True)
class Reached:
    """FLOP/s of a large matrix product by precision, and bytes/s, read and written, of a large copy."""

    products: dict[str, float]
    copy: float


def reached(sizes: Sizes, machine: Machine) -> Reached:
    """Measure products and a copy within the device's memory."""
    found = {}
    for name, dtype, rounded in (
        ("float32", torch.float32, False),
        ("TF32", torch.float32, True),
        ("bfloat16", torch.bfloat16, False),
    ):
        a = torch.randn(sizes.matrix, sizes.matrix, device=machine.device, dtype=dtype)
        with tf32(allowed=rounded):
            found[name] = 2 * sizes.matrix**3 / machine.seconds(lambda a=a: a @ a, 3)  # type: ignore[misc]
    source = torch.empty(sizes.copied, dtype=torch.uint8, device=machine.device)
    target = torch.empty_like(source)
    return Reached(found, 2 * sizes.copied / machine.seconds(lambda: target.copy_(source), 5))


def floors(sizes: Sizes, machine: Machine) -> Iterator[str]:
    """What large matrix products and copies reach here."""
    best = reached(sizes, machine)
    yield from ("| | measured |", "|---|--:|")
    for name, rate in best.products.items():
        yield f"| matrix product of {sizes.matrix}³, {name} | {rate / 1e12:,.3g} TFLOP/s |"
    yield f"| copy of {sizes.copied / 2**20:,.3g} MiB | {best.copy / 1e9:,.3g} GB/s |"


@dataclass
class Work(TorchDispatchMode):
    """The products and norms of what runs below it: of each its FLOPs and the numbers that it reads and writes."""

    done: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        packet = func.overloadpacket
        if packet in flop_registry:
            flops = flop_registry[packet](*args, **kwargs, out_val=result)
            self.done.append((flops, numbers((args, kwargs)) + numbers(result)))
        elif "batch_norm" in packet.__name__:
            # What is normalised is read once more before, for its statistics or for sums of their gradients.
            self.done.append((0, 2 * numbers((args, kwargs)) + numbers(result)))
        return result


def numbers(tensors: Any) -> int:
    """Count the numbers of all tensors but single ones and lists."""
    return sum(leaf.numel() for leaf in tree_leaves(tensors) if isinstance(leaf, Tensor) and leaf.dim() > 1)


@dataclass(frozen=True)
class StepsWork:
    """What a step's products and norms do, forward and backward, and how many parameters learn."""

    done: list[tuple[int, int]]
    parameters: int

    @property
    def flops(self) -> int:
        """All products'."""
        return sum(flops for flops, _ in self.done)

    def bytes(self, size: int) -> int:
        """What all read and write, in numbers of `size` bytes, with the optimizer's pass over its own."""
        return size * sum(moved for _, moved in self.done) + self.optimizers_bytes

    @property
    def optimizers_bytes(self) -> int:
        """What Adam reads and writes."""
        return 4 * ADAMS_PASSES * self.parameters

    def seconds(self, rate: float, copy: float, size: int) -> float:
        """Return the least time of one after the other: each takes its FLOPs' or its bytes', whichever is longer."""
        return sum(max(flops / rate, size * moved / copy) for flops, moved in self.done) + self.optimizers_bytes / copy


def work_of_a_step(sizes: Sizes) -> StepsWork:
    """Count a step of the network, on tensors without values."""
    train = sizes.params.train
    (height, width), count = train.image_size, train.identities * train.instances
    model: Pirt = build_model(sizes.classes, sizes.params).to("meta").train()
    images = torch.empty(count, 3, height, width, device="meta")
    heatmaps = torch.empty(count, len(COCO_KEYPOINTS), height // 4, width // 4, device="meta")
    # Only the plain kernel of attention is made of products that can be counted.
    with sdpa_kernel(SDPBackend.MATH), Work() as work:
        outputs = model(images, heatmaps)
        torch.autograd.backward(torch.stack([values.sum() for values in outputs.values()]).sum())
    return StepsWork(work.done, sum(value.numel() for value in model.parameters() if value.requires_grad))
