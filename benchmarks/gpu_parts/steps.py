"""A training's step, in the precisions and with the choices that a GPU has, and whether it repeats."""

import gc
import hashlib
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from gpu_parts.floors import reached, work_of_a_step
from gpu_parts.machine import Machine, Sizes

from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.manifest import Manifest
from pirt.core.repeatable import deterministic
from pirt.heatmaps.codec import decode_table
from pirt.runs.cache import HeatmapCache
from pirt.runs.dataset import Batch, PersonDataset
from pirt.runs.precision import tf32
from pirt.runs.run import build_model
from pirt.runs.transforms import EvalTransform
from pirt.training.objective import TOTAL, Objective
from pirt.training.optimizer import make_optimizer
from pirt.training.stopping import seed_step


@dataclass(frozen=True)
class Kind:
    """One way to run a step; each of the table adds one thing to the one before."""

    name: str
    half: bool = False
    tf32: bool = False
    channels_last: bool = False
    fused: bool = False
    compiled: bool = False
    repeatable: bool = True
    """Whether it takes the repeatable version of every operation, as a training does."""


KINDS = [
    Kind("float32"),
    Kind("TF32", tf32=True),
    Kind("bfloat16", half=True),
    Kind("+ channels-last", half=True, channels_last=True),
    Kind("+ fused optimizer", half=True, channels_last=True, fused=True),
    Kind("the same, not repeatable", half=True, channels_last=True, fused=True, repeatable=False),
    Kind("+ compiled", half=True, channels_last=True, fused=True, compiled=True),
]
REPEATED = [KINDS[0], KINDS[4], KINDS[6]]


class Step:
    """A training's step on one drawn batch, from the loader's bytes to the optimizer."""

    def __init__(self, sizes: Sizes, machine: Machine, kind: Kind) -> None:
        torch.manual_seed(0)
        self.kind, self.machine, self.done = kind, machine, 0
        recipe = sizes.params.train
        network = build_model(sizes.classes, sizes.params).to(machine.device)
        if kind.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network, self.objective = network, Objective(network, recipe)
        if kind.compiled:
            self.objective.compile(backend=sizes.compiler)
        self.optimizer = make_optimizer(network, recipe)
        for group in self.optimizer.param_groups:
            group["fused"] = kind.fused or None  # False would switch off what is faster than neither
        self.batch, self.finish = drawn_batch(sizes, machine)
        self.objective.train()

    def losses(self) -> torch.Tensor:
        """Run forward pass and losses."""
        batch = self.finish(self.batch)
        images = batch["image"] if self.kind.channels_last else batch["image"].contiguous()
        with torch.autocast(self.machine.device.type, torch.bfloat16, enabled=self.kind.half):
            return self.objective(images, batch["heatmaps"], batch["label"])[TOTAL]  # type: ignore[no-any-return]

    def __call__(self) -> None:
        """Run a step."""
        seed_step(0, self.done, 0)
        self.done += 1
        repeats = deterministic(self.machine.on_gpu) if self.kind.repeatable else nullcontext()
        with tf32(allowed=self.kind.tf32), repeats:
            total = self.losses()
            self.optimizer.zero_grad()
            torch.autograd.backward(total)
            self.optimizer.step()

    def state(self) -> str:
        """Return a hash of all weights."""
        digest = hashlib.sha256()
        for value in self.network.state_dict().values():
            digest.update(value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def drawn_batch(sizes: Sizes, machine: Machine) -> tuple[Batch, Callable[[Batch], Batch]]:
    """Return a batch as a loader gives it, and what finishes it on the device."""
    train, chance = sizes.params.train, torch.Generator().manual_seed(0)
    (height, width), count = train.image_size, train.identities * train.instances
    pixels = torch.randint(256, (count, height, width, 3), generator=chance, dtype=torch.uint8)
    codes = torch.randint(
        256, (count, len(COCO_KEYPOINTS), height // 4, width // 4), generator=chance, dtype=torch.uint8
    )
    batch = {"image": pixels, "heatmaps": codes, "label": torch.arange(count) // train.instances}
    table = torch.from_numpy(decode_table(sizes.params.model.tau).copy())
    transform = EvalTransform(train.image_size, train.image_mean, train.image_std)
    finish = PersonDataset(Manifest((), Path()), (), HeatmapCache(codes, table, ""), transform).finisher(machine.device)
    return {name: value.pin_memory() if machine.on_gpu else value for name, value in batch.items()}, finish


def steps(sizes: Sizes, machine: Machine) -> Iterator[str]:
    """A step's time over the least that its products, norms and optimizer would take."""
    best, work = reached(sizes, machine), work_of_a_step(sizes)
    count = sizes.params.train.identities * sizes.params.train.instances
    yield (
        f"A step of {count} images has products of {work.flops / 1e12:.3g} TFLOP; they, the norms and Adam move "
        f"{work.bytes(2) / 1e9:.3g} GB in bfloat16, {work.bytes(4) / 1e9:.3g} in float32. The floor is the sum of what "
        "each takes by itself, at the rates of large products and copies. The first step loads or compiles kernels."
    )
    yield from ("", "| step | ms | images/s | floor, ms | ratio | first step, s | peak GB | host waits |")
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    for kind in KINDS:
        step = Step(sizes, machine, kind)
        began = time.perf_counter()
        step()
        machine.wait()
        first = time.perf_counter() - began
        for _ in range(2):
            step()
        seconds = machine.seconds(step, max(sizes.steps // 5, 1))
        rate = best.products["bfloat16" if kind.half else "TF32" if kind.tf32 else "float32"]
        floor = work.seconds(rate, best.copy, 2 if kind.half else 4)
        yield (
            f"| {kind.name} | {seconds * 1e3:,.1f} | {count / seconds:,.0f} | {floor * 1e3:,.1f} "
            f"| {seconds / floor:.2f} | {first:,.1f} | {machine.peak(step)} | {machine.waits(step)} |"
        )
        # A compiled step lies in a circle; the next one's memory is not to be counted with it.
        del step
        gc.collect()


def repeats(sizes: Sizes, machine: Machine) -> Iterator[str]:
    """Whether the same steps, taken twice, leave the same bytes."""
    yield from (f"| {sizes.steps} steps twice | weights | not repeatable by themselves |", "|---|---|---|")
    for kind in REPEATED:
        states, said = set(), set[str]()
        for _ in range(2):
            step = Step(sizes, machine, kind)
            for _ in range(sizes.steps):
                said |= warned_of(step)
            states.add(step.state())
        yield f"| {kind.name} | {'equal' if len(states) == 1 else 'differ'} | {', '.join(sorted(said)) or 'none'} |"


def warned_of(step: Step) -> set[str]:
    """Run a step and return the operations that PyTorch says have no repeatable version, or were not to take it."""
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step()
    finally:
        torch.set_warn_always(always)
    found = (re.match(r"(.+?)(?: does not have a| defaults to a non-)\s?deterministic", str(w.message)) for w in caught)
    cublas = {"cuBLAS" for warning in caught if "uses CuBLAS" in str(warning.message)}
    return {match[1] for match in found if match} | cublas
