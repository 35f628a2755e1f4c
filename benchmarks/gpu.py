"""What a GPU reaches, against what it could: floors, steps, whole trainings, repeated steps, evaluation.

    python benchmarks/gpu.py                        everything, in less than 8 minutes
    python benchmarks/gpu.py floors steps           these parts alone
    python benchmarks/gpu.py --device cpu --tiny    every part in small, to see that it runs

Needs PyTorch and Pirt, neither MMPose nor a network: images, heatmaps and features are drawn here. Prints Markdown.
"""

import hashlib
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from gpu_parts.machine import FULL, TINY, Machine, Sizes
from gpu_parts.rankings import rankings
from gpu_parts.trainings import trainings

from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.manifest import Manifest
from pirt.heatmaps.codec import decode_table
from pirt.machine import cores
from pirt.runs.cache import HeatmapCache
from pirt.runs.dataset import Batch, PersonDataset
from pirt.runs.precision import tf32
from pirt.runs.run import build_model
from pirt.runs.transforms import EvalTransform
from pirt.summary import summarise
from pirt.training.objective import TOTAL, Objective
from pirt.training.optimizer import make_optimizer
from pirt.training.stopping import deterministic, seed_step


@dataclass(frozen=True)
class Kind:
    """One way to run a step; each of the table adds one thing to the one before."""

    name: str
    half: bool = False
    tf32: bool = False
    channels_last: bool = False
    fused: bool = False
    compiled: bool = False


KINDS = [
    Kind("float32"),
    Kind("TF32", tf32=True),
    Kind("bfloat16", half=True),
    Kind("+ channels-last", half=True, channels_last=True),
    Kind("+ fused optimizer", half=True, channels_last=True, fused=True),
    Kind("+ compiled", half=True, channels_last=True, fused=True, compiled=True),
]


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
        self.optimizer = make_optimizer(network, recipe, on_gpu=kind.fused and machine.on_gpu)
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
        with tf32(allowed=self.kind.tf32):
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


def products(sizes: Sizes, machine: Machine) -> dict[str, float]:
    """Return FLOP/s of a large matrix product by precision."""
    found = {}
    for name, dtype, rounded in (
        ("float32", torch.float32, False),
        ("TF32", torch.float32, True),
        ("bfloat16", torch.bfloat16, False),
    ):
        a = torch.randn(sizes.matrix, sizes.matrix, device=machine.device, dtype=dtype)
        with tf32(allowed=rounded):
            found[name] = 2 * sizes.matrix**3 / machine.seconds(lambda a=a: a @ a, 3)  # type: ignore[misc]
    return found


def bandwidth(sizes: Sizes, machine: Machine) -> float:
    """Return bytes/s, read and written, of a copy within the device's memory."""
    source = torch.empty(sizes.copied, dtype=torch.uint8, device=machine.device)
    target = torch.empty_like(source)
    return 2 * sizes.copied / machine.seconds(lambda: target.copy_(source), 5)


def floors(sizes: Sizes, machine: Machine) -> Iterator[str]:
    """What large matrix products and copies reach here."""
    yield from ("| | measured |", "|---|--:|")
    for name, rate in products(sizes, machine).items():
        yield f"| matrix product of {sizes.matrix}³, {name} | {rate / 1e12:,.3g} TFLOP/s |"
    yield f"| copy of {sizes.copied / 2**20:,.3g} MiB | {bandwidth(sizes, machine) / 1e9:,.3g} GB/s |"


def steps(sizes: Sizes, machine: Machine) -> Iterator[str]:
    """A step's time over its floor: its FLOPs at the matrix product's rate of its precision."""
    rates, count = products(sizes, machine), sizes.params.train.identities * sizes.params.train.instances
    height, width = sizes.params.train.image_size
    model = build_model(sizes.classes, sizes.params)
    # Backward it is the same work twice.
    flops = 3 * count * summarise(model, (height, width), (height // 4, width // 4))[-1].flops
    yield f"A step of {count} images is {flops / 1e12:.3g} TFLOP; the floor is these at the matrix product's rate."
    yield from ("", "| step | ms | images/s | floor, ms | ratio | peak GB | host waits |")
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for kind in KINDS:
        step = Step(sizes, machine, kind)
        for _ in range(3):
            step()
        seconds = machine.seconds(step, max(sizes.steps // 5, 1))
        floor = flops / rates["bfloat16" if kind.half else "TF32" if kind.tf32 else "float32"]
        yield (
            f"| {kind.name} | {seconds * 1e3:,.1f} | {count / seconds:,.0f} | {floor * 1e3:,.1f} "
            f"| {seconds / floor:.2f} | {machine.peak(step)} | {machine.waits(step)} |"
        )


def repeats(sizes: Sizes, machine: Machine) -> Iterator[str]:
    """Whether the same steps, taken twice, leave the same bytes."""
    yield from (f"| {sizes.steps} steps twice | weights |", "|---|---|")
    for kind in (KINDS[0], KINDS[-2], KINDS[-1]):
        states = set()
        with deterministic(machine.on_gpu):
            for _ in range(2):
                step = Step(sizes, machine, kind)
                for _ in range(sizes.steps):
                    step()
                states.add(step.state())
        yield f"| {kind.name} | {'equal' if len(states) == 1 else 'differ'} |"


PARTS = {"floors": floors, "steps": steps, "repeats": repeats, "trainings": trainings, "rankings": rankings}


@click.command(context_settings={"show_default": True})
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cuda")
@click.option("--tiny", is_flag=True, help="Small sizes, whose numbers mean nothing.")
def main(parts: tuple[str, ...], device: str, tiny: bool) -> None:
    """Print a table for each of PARTS, all by default."""
    machine, sizes = Machine(device), TINY if tiny else FULL
    name = torch.cuda.get_device_name() if machine.on_gpu else platform.machine()
    print(f"{name}, {cores()} cores, torch {torch.__version__}, Python {platform.python_version()}")
    for part in parts or PARTS:
        began = time.perf_counter()
        print(f"\n## {(PARTS[part].__doc__ or '').rstrip('.')}\n")
        for line in PARTS[part](sizes, machine):
            print(line, flush=True)
        print(f"\n{part}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
