"""A training step on a device that PyTorch only pretends to have; prints what was wrong with each step as JSON.

Its tensors have shapes and a device but no values, so whatever asks a GPU for a value fails here; what is copied to or
from it while the host waits, or mixed with tensors of the host, is refused by `NothingWaits`. A process registers such
a device for good: this is a program of its own.
"""

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from lightning_fabric import Fabric
from tiny_runs import SMALL
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from pirt.core.manifest import Manifest
from pirt.models import Pirt, build_pirt
from pirt.runs.cache import HeatmapCache
from pirt.runs.dataset import PersonDataset
from pirt.runs.params import Params, TrainParams
from pirt.runs.transforms import EvalTransform
from pirt.training.objective import Objective
from pirt.training.optimizer import make_optimizer
from pirt.training.recipe import Training
from pirt.training.resume import TrainingState
from pirt.training.watch import Watch

DEVICE = "pretended"
IMAGE_SIZE = (64, 32)
_COPIES = ("_to_copy", "copy_", "_copy_from")


class NothingWaits(TorchDispatchMode):
    """Refuses operations between the host's tensors and the device's, but for copies that nobody waits for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
        copy = func.overloadpacket.__name__ in _COPIES
        # A host's single number goes along with a kernel's arguments.
        devices = {tensor.device.type for tensor in tensors if copy or tensor.dim() > 0}
        freely = (kwargs or {}).get("non_blocking") or (func.overloadpacket.__name__ == "copy_" and args[2:] == (True,))
        if len(devices) > 1 and not (copy and freely):
            raise RuntimeError(f"{func} meets {' and '.join(sorted(devices))}")
        return result


class ModuleOfDevice:
    """What PyTorch asks a device's module for."""

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        pass

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


def on_device(network: nn.Module) -> None:
    """Replace parameters and buffers by pretended ones."""
    for module in network.modules():
        for name, value in module._parameters.items():
            if value is not None:
                empty = torch.empty(value.shape, dtype=value.dtype, device=DEVICE)
                module._parameters[name] = nn.Parameter(empty, value.requires_grad)
        for name, value in module._buffers.items():
            if value is not None:
                module._buffers[name] = torch.empty(value.shape, dtype=value.dtype, device=DEVICE)


def training_of(network: Pirt, recipe: TrainParams) -> Training:
    """Return as much of a training as its steps use."""
    training, fabric = object.__new__(Training), Fabric(accelerator="cpu")
    training.fabric, training.recipe, training.steps_per_epoch = fabric, recipe, 10
    training.job, training.state = SimpleNamespace(params=Params(train=recipe)), TrainingState()
    training.stop, training.watch = SimpleNamespace(signal=None), Watch(fabric)
    training.bare_optimizer = training.optimizer = make_optimizer(network, recipe, on_gpu=True)
    training.model = Objective(network, recipe)
    return training


Fault = Callable[[Tensor], Any]
FAULTS: dict[str, Fault] = {
    "none": lambda images: images,
    "a value is read": lambda images: images * images.mean().item(),
    "a value decides": lambda images: images if images.mean() > 0 else -images,
    "a mask chooses": lambda images: images[images > 0],
    "a tensor of the host is added": lambda images: images + torch.ones(IMAGE_SIZE),
    "the host's tensor indexes": lambda images: images[torch.arange(4)],
    "a tensor of the host is copied": lambda images: images * torch.ones(1).to(images.device),
    "a list of the host is copied": lambda images: images * torch.tensor([1.0], device=images.device),
    "a tensor is fetched": lambda images: images.cpu(),
}


def found(fault: Fault, backward: bool, heatmap_size: tuple[int, int]) -> str:
    """Run a step whose images, or their gradients, pass through `fault`; say what was refused."""
    network = build_pirt(5, image_size=IMAGE_SIZE, **SMALL.model_dump())
    with FakeTensorMode():
        on_device(network)
        training = training_of(network, TrainParams(image_size=IMAGE_SIZE))
        codes = torch.empty(4, 17, *heatmap_size, dtype=torch.uint8)
        images, labels = torch.empty(4, *IMAGE_SIZE, 3, dtype=torch.uint8), torch.zeros(4, dtype=torch.long)
        cache = HeatmapCache(codes, torch.empty(256), "")
        dataset = PersonDataset(Manifest((), Path()), (), cache, EvalTransform(IMAGE_SIZE))
        finish = dataset.finisher(torch.device(DEVICE))
        try:
            with NothingWaits():
                batch = finish({"image": images, "heatmaps": codes, "label": labels})
                if backward:
                    batch["image"].requires_grad_().register_hook(fault)
                else:
                    batch["image"] = fault(batch["image"])
                training.step(batch)
        except (RuntimeError, NotImplementedError) as error:
            return f"{type(error).__name__}: {error}"[:200]
    return ""


def main(name: str | None = None) -> None:
    """Print by name what each step was refused for; with `name` a fault is planted in the backward pass.

    What is refused there ends the process, since PyTorch cannot carry an error out of the thread of such a device.
    """
    warnings.simplefilter("ignore")
    _setup_privateuseone_for_python_backend(DEVICE, ModuleOfDevice())
    if name is not None:
        found(FAULTS[name], True, (16, 8))
        return
    wrong = {f"{name}, forward": found(fault, False, (16, 8)) for name, fault in FAULTS.items()}
    wrong |= {"none, backward": found(FAULTS["none"], True, (16, 8))}
    wrong |= {"none, uneven grid": found(FAULTS["none"], False, (17, 9))}
    print(json.dumps(wrong, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
