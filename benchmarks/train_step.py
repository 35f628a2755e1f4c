"""What a row of Table 3 costs over the baseline, and what the heatmap cache saves.

    python benchmarks/train_step.py --params params.yaml                          the demo's sizes
    python benchmarks/train_step.py --batch-size 8                                the paper's, on a CPU
    python benchmarks/train_step.py --device cuda --precision bfloat16 --compile  the paper's, on a GPU

All contenders of a table take turns in one process, a step each; times are medians and ratios the medians of each
turn's. Where other programs run beside, `--clock cpu --threads 1` counts this process's own time instead. Memory is
measured in a process of its own for each: weights, gradients, Adam's moments and activations.
"""

import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.heatmaps.codec import decode_table
from pirt.losses.triplet import batch_hard_triplet
from pirt.models import build_pirt
from pirt.runs.cache import HeatmapCache
from pirt.runs.params import Params, load_params
from pirt.runs.run import build_model
from pirt.summary import summarise, summary_table
from pirt.training.losses import pirt_losses

CLASSES = 702
Entrant = tuple[str, str | None]
"""A row, and the pose network in its loop if there is one."""
ROWS: dict[str, dict[str, Any]] = {
    "baseline": {"parts": False, "intra": False, "inter_layers": 0},
    "+P": {"parts": True, "intra": False, "inter_layers": 0},
    "+P+Intra": {"parts": True, "intra": True, "inter_layers": 0},
    "Pirt (+P+Intra+Inter)": {},
}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
POSE_NETWORKS = ("small HRNet", "td-hm_hrnet-w48_8xb32-210e_coco-256x192")


@dataclass(frozen=True)
class Setting:
    """What all contenders have in common."""

    params: Params
    batch_size: int
    device: str
    precision: str
    compiled: bool
    clock: str

    @property
    def heatmap_size(self) -> tuple[int, int]:
        """At stride 4, as pose networks give them."""
        height, width = self.params.train.image_size
        return height // 4, width // 4


class Contender:
    """A model with its optimizer and a batch; heatmaps come from codes, or from a pose network when one is named."""

    def __init__(self, setting: Setting, row: str, pose_network: str | None = None) -> None:
        torch.manual_seed(0)
        self.setting = setting
        self.device = torch.device(setting.device)
        model = setting.params.model.model_dump() | ROWS[row]
        self.model = build_pirt(CLASSES, image_size=setting.params.train.image_size, **model).to(self.device)
        learning = [value for value in self.model.parameters() if value.requires_grad]
        self.optimizer = torch.optim.Adam(learning, 3.5e-4, weight_decay=5e-4)
        self.images = torch.randn(setting.batch_size, 3, *setting.params.train.image_size, device=self.device)
        self.labels = torch.arange(setting.batch_size, device=self.device) // setting.params.train.instances
        self.heatmaps = self.pose(pose_network) if pose_network else self.cached()
        if setting.compiled:
            self.model.compile(fullgraph=True)

    def cached(self) -> Callable[[], Tensor]:
        """Return what sends codes to the device and decodes them, as training does."""
        shape = (self.setting.batch_size, len(COCO_KEYPOINTS), *self.setting.heatmap_size)
        codes = torch.randint(256, shape, dtype=torch.uint8)
        cache = HeatmapCache(codes, torch.from_numpy(decode_table(self.setting.params.model.tau).copy()), "")
        return lambda: cache.decode(codes.to(self.device))

    def pose(self, name: str) -> Callable[[], Tensor]:
        """Return what runs a frozen pose network of random weights over the images."""
        from pirt_stages.pose.networks.network import build_network, channels_last, read_config
        from pirt_stages.pose.training.params import PoseTrainParams
        from pirt_stages.pose.training.small_hrnet import small_hrnet_config

        defaults = PoseTrainParams()
        config = (
            small_hrnet_config(self.setting.params.train.image_size, defaults.channels, defaults.sigma)
            if name == POSE_NETWORKS[0]
            else read_config(name)
        )
        network = channels_last(build_network(config, name)).to(self.device).eval()
        pixels = (self.images * 50 + 128).clamp(0, 255)

        def run() -> Tensor:
            with torch.no_grad(), self.autocast():
                heatmaps: Tensor = network(pixels)
            return heatmaps.float().clamp(0, 1)

        return run

    def autocast(self) -> torch.autocast:
        """Return the precision's context."""
        dtype = getattr(torch, self.setting.precision)
        return torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32)

    def forward(self) -> None:
        """Embed the batch, as evaluation does."""
        self.model.eval()
        with torch.inference_mode(), self.autocast():
            self.model(self.images, self.heatmaps())

    def training(self) -> None:
        """Train one step."""
        self.model.train()
        with self.autocast():
            outputs = self.model(self.images, self.heatmaps())
        losses = pirt_losses(
            outputs, self.labels, label_smoothing=0.1, triplet_margin=None, metric_loss=batch_hard_triplet
        )
        self.optimizer.zero_grad()
        torch.autograd.backward(losses["total"])
        self.optimizer.step()

    def seconds(self, step: str) -> float:
        """Time one step."""
        began = CLOCKS[self.setting.clock]()
        getattr(self, step)()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return CLOCKS[self.setting.clock]() - began


def timed(contenders: list[Contender], step: str, rounds: int) -> list[list[float]]:
    """Let the contenders take turns; return each one's seconds."""
    for contender in contenders:
        contender.seconds(step)
        contender.seconds(step)
    turns = [[contender.seconds(step) for contender in contenders] for _ in range(rounds)]
    return [list(column) for column in zip(*turns, strict=True)]


def triplet(params: Params, rounds: int) -> None:
    """Print what the triplet loss of group features takes, against choosing single numbers as it did before."""
    B, G, C = params.train.identities * params.train.instances, 3, 2048
    features = torch.randn(G, B, C, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.arange(B) // params.train.instances
    losses = {"`take_along_dim`": with_take_along_dim, "whole rows by `index_select`": batch_hard_triplet}

    def seconds(loss: Callable[..., Tensor]) -> float:
        total = loss(features, labels, features, labels, None)
        began = time.perf_counter()
        torch.autograd.grad(total, features)
        return time.perf_counter() - began

    turns = [[seconds(loss) for loss in losses.values()] for _ in range(rounds + 2)][2:]
    print(f"\n| triplet of {G}×{B}×{C}, backward | ms | ratio |\n|---|---|---|")
    for name, column in zip(losses, zip(*turns, strict=True), strict=True):
        ratio = statistics.median(mine / turn[0] for mine, turn in zip(column, turns, strict=True))
        print(f"| {name} | {statistics.median(column) * 1e3:.2f} | {ratio:.2f} |", flush=True)


def with_take_along_dim(anchors: Tensor, _: Tensor, features: Tensor, labels: Tensor, margin: None) -> Tensor:
    """`batch_hard_triplet` with a soft margin and an index as large as the rows it chooses."""
    same = labels[:, None] == labels[None, :]
    with torch.no_grad():
        distances = torch.cdist(anchors, features, compute_mode="donot_use_mm_for_euclid_dist")
        chosen = distances.masked_fill(~same, -1.0).argmax(-1), distances.masked_fill(same, torch.inf).argmin(-1)
    positive, negative = (
        torch.linalg.vector_norm(anchors - features.take_along_dim(rows[..., None], dim=-2), dim=-1) for rows in chosen
    )
    return torch.nn.functional.softplus(positive - negative).mean()


def peak_bytes(setting: Setting, row: str, pose_network: str | None, step: str) -> int:
    """Return the most memory that two steps of one contender take, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_of_this_process, (setting, row, pose_network, step))


def _peak_of_this_process(setting: Setting, row: str, pose_network: str | None, step: str) -> int:
    before = _resident("VmRSS")
    contender = Contender(setting, row, pose_network)
    contender.seconds(step)
    contender.seconds(step)
    if setting.device == "cuda":
        return torch.cuda.max_memory_allocated()
    return _resident("VmHWM") - before


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{field}:")]
    return int(line.split()[1]) * 1024


def compare(setting: Setting, entrants: dict[str, Entrant], step: str, rounds: int) -> None:
    """Print a table of the entrants' (row, pose network) times and memory, with ratios over the first."""
    contenders = [Contender(setting, *entrant) for entrant in entrants.values()]
    times = timed(contenders, step, rounds)
    del contenders
    memory = [peak_bytes(setting, *entrant, step) for entrant in entrants.values()]
    print(f"\n| {step} | ms/step | images/s | ratio | peak MB | ratio |\n|---|---|---|---|---|---|")
    for name, own, bytes_ in zip(entrants, times, memory, strict=True):
        seconds = statistics.median(own)
        ratio = statistics.median(mine / first for mine, first in zip(own, times[0], strict=True))
        print(
            f"| {name} | {seconds * 1e3:,.0f} | {setting.batch_size / seconds:,.1f} | {ratio:.2f} "
            f"| {bytes_ / 1e6:,.0f} | {bytes_ / memory[0]:.2f} |",
            flush=True,
        )


@click.command(context_settings={"show_default": True})
@click.option("--params", "params_file", type=click.Path(path_type=Path), help="Sizes; without, the paper's.")
@click.option("--variant", default="pirt", help="Of the parameter file, for the full model.")
@click.option("--batch-size", type=click.IntRange(min=2), default=64)
@click.option("--rounds", type=click.IntRange(min=1), default=7)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu")
@click.option("--precision", type=click.Choice(["float32", "bfloat16", "float16"]), default="float32")
@click.option("--compile", "compiled", is_flag=True)
@click.option("--clock", type=click.Choice(list(CLOCKS)), default="wall")
@click.option("--threads", type=click.IntRange(min=1), help="Of PyTorch; without, its own choice.")
@click.option("--only-triplet", is_flag=True, help="This table alone.")
@click.option("--pose-network", type=click.Choice(POSE_NETWORKS), help="In the loop; without, the one of the size.")
def main(
    params_file: Path | None,
    variant: str,
    batch_size: int,
    rounds: int,
    device: str,
    precision: str,
    compiled: bool,
    clock: str,
    threads: int | None,
    only_triplet: bool,
    pose_network: str | None,
) -> None:
    """Print the model's size and four tables as Markdown."""
    params = load_params(params_file, variant) if params_file else Params()
    setting = Setting(params, batch_size, device, precision, compiled, clock)
    if threads:
        torch.set_num_threads(threads)
    where = torch.cuda.get_device_name() if device == "cuda" else f"{os.cpu_count()} cores, {platform.machine()}"
    height, width = params.train.image_size
    print(
        f"{where}, torch {torch.__version__}; {params.model.backbone}, {height}×{width}, "
        f"batch {batch_size}, {precision}{', compiled' if compiled else ''}, {torch.get_num_threads()} threads, "
        f"{clock} time\n"
    )
    triplet(params, max(rounds, 20))
    if only_triplet:
        return
    model = build_model(CLASSES, params)
    print(summary_table(summarise(model, params.train.image_size, setting.heatmap_size)))
    del model
    rows: dict[str, Entrant] = {row: (row, None) for row in ROWS}
    compare(setting, rows, "forward", rounds)
    compare(setting, rows, "training", rounds)
    full = list(ROWS)[-1]
    looped = pose_network or POSE_NETWORKS[1 if params_file is None else 0]
    sources: dict[str, Entrant] = {
        f"Pirt, {looped} in the loop": (full, looped),
        "Pirt, cached heatmaps": (full, None),
    }
    compare(setting, sources, "training", rounds)


if __name__ == "__main__":
    main()
