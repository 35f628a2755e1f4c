"""A training step on a device that PyTorch only pretends to have; prints what was wrong with each step as JSON."""

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from lightning_fabric import Fabric
from pretended_device import DEVICE, NothingWaits, on_device, pretend
from tiny_runs import SMALL
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from pirt.core.manifest import Manifest
from pirt.models import Pirt, build_pirt
from pirt.runs.cache import HeatmapCache
from pirt.runs.dataset import PersonDataset
from pirt.runs.params import ModelParams, Params, TrainParams
from pirt.runs.transforms import EvalTransform
from pirt.training.objective import Objective
from pirt.training.optimizer import make_optimizer
from pirt.training.recipe import Training
from pirt.training.resume import TrainingState
from pirt.training.watch import Watch

IMAGE_SIZE = (64, 32)
SOLIDER = SMALL.model_copy(
    update={
        "backbone": "swin_tiny",
        "width": None,
        "strides": None,
        "backbone_options": {"depths": (1, 1, 1, 1), "window": 2, "semantic_weight": 0.2},
    }
)


def training_of(network: Pirt, recipe: TrainParams) -> Training:
    """Return as much of a training as its steps use."""
    training, fabric = object.__new__(Training), Fabric(accelerator="cpu")
    training.fabric, training.recipe, training.steps_per_epoch = fabric, recipe, 10
    training.job, training.state = SimpleNamespace(params=Params(train=recipe)), TrainingState()
    training.stop, training.watch = SimpleNamespace(signal=None), Watch(fabric)
    training.bare_optimizer = training.optimizer = make_optimizer(network, recipe)
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


def found(fault: Fault, backward: bool, heatmap_size: tuple[int, int], model: ModelParams = SMALL) -> str:
    """Run a step whose images, or their gradients, pass through `fault`; say what was refused."""
    network = build_pirt(5, image_size=IMAGE_SIZE, **model.model_dump())
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
    pretend()
    if name is not None:
        found(FAULTS[name], True, (16, 8))
        return
    wrong = {f"{name}, forward": found(fault, False, (16, 8)) for name, fault in FAULTS.items()}
    wrong |= {"none, backward": found(FAULTS["none"], True, (16, 8))}
    wrong |= {"none, uneven grid": found(FAULTS["none"], False, (17, 9))}
    wrong |= {"none, semantic layers": found(FAULTS["none"], False, (16, 8), SOLIDER)}
    print(json.dumps(wrong, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
