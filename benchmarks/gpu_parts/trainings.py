"""Whole trainings on drawn images, with the time in which the device does nothing."""

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_parts.machine import Machine, Sizes
from PIL import Image

from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.manifest import ImageRow, Manifest, write_manifest
from pirt.heatmaps.reader import HeatmapStore, open_store
from pirt.heatmaps.schema import StoreAttributes
from pirt.runs.dataset import Batch
from pirt.training.recipe import Job, Listener, Training, train
from pirt_stages.pose.extraction.writer import create_store


class Timed(Listener):
    """Times the second epoch of a training and looks at the device's idle time in the third."""

    def __init__(self, machine: Machine, trace: Path) -> None:
        kinds = torch.profiler.ProfilerActivity
        self.profile = torch.profiler.profile(activities=[kinds.CUDA] if machine.on_gpu else [kinds.CPU])
        self.machine, self.trace = machine, trace
        self.waited, self.seconds, self.began = 0.0, 0.0, 0.0

    def epoch_begins(self, training: Training) -> None:
        """Begin to time or to look."""
        self.waited, self.began = 0.0, time.perf_counter()

    def waits_for(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Add up how long batches are waited for."""
        asked = time.perf_counter()
        for batch in batches:
            self.waited += time.perf_counter() - asked
            yield batch
            asked = time.perf_counter()

    def stepped(self, training: Training) -> None:
        """Look from the third epoch's first step to its last."""
        place = training.state.step - 2 * training.steps_per_epoch
        if place == 1:
            self.profile.start()
        elif place == training.steps_per_epoch:
            self.machine.wait()
            self.profile.stop()
            self.profile.export_chrome_trace(str(self.trace))

    def epoch_ends(self, training: Training, point: dict[str, float]) -> None:
        """End the second epoch's time."""
        if len(training.state.history) == 2:
            self.seconds = time.perf_counter() - self.began
            images = training.steps_per_epoch * training.recipe.identities * training.recipe.instances
            self.speed, self.share = images / self.seconds, self.waited / self.seconds


def idle_share(trace: Path, categories: frozenset[str]) -> str:
    """Return the share of time between the first and the last work in which none was done, "–" if none was seen."""
    events = json.loads(trace.read_text())["traceEvents"]
    spans = sorted((e["ts"], e["ts"] + e["dur"]) for e in events if e.get("ph") == "X" and e.get("cat") in categories)
    if not spans:
        return "–"  # without the right to look into its kernels
    busy, until = 0.0, spans[0][0]
    for start, end in spans:
        busy += max(end - max(start, until), 0)
        until = max(until, end)
    return f"{1 - busy / (until - spans[0][0]):.1%}"


def trainings(sizes: Sizes, machine: Machine) -> Iterator[str]:
    """Whole trainings by the program's recipe, compiled and in bfloat16 as `gpu.yaml` has it on a GPU."""
    yield from ("| loader processes | decoded | images/s | data wait | idle |", "|--:|---|--:|--:|--:|")
    works = frozenset({"kernel", "gpu_memcpy", "gpu_memset"} if machine.on_gpu else {"cpu_op"})
    fast: dict[str, Any] = {"precision": "bfloat16", "compile": True} if machine.on_gpu else {}
    params = sizes.params.model_copy(update={"train": sizes.params.train.model_copy(update=fast)})
    with tempfile.TemporaryDirectory() as folder:
        manifest = drawn_people(sizes, Path(folder))
        store = drawn_store(sizes, Path(folder) / "heatmaps.zarr", manifest)
        for number, (workers, memory) in enumerate(sizes.loaders):
            job = Job(params, None, manifest, store, Path(folder) / f"run{number}", device=machine.device.type)  # type: ignore[arg-type]
            timed = Timed(machine, Path(folder) / "trace.json")
            train(replace(job, workers=workers, image_memory=memory), timed)
            idle = idle_share(timed.trace, works)
            held = "once" if memory else "every time"
            yield f"| {workers} | {held} | {timed.speed:,.0f} | {timed.share:.1%} | {idle} |"


def drawn_people(sizes: Sizes, folder: Path) -> Manifest:
    """Write JPEGs of coarse noise, which take about as long to decode as photographs, and their manifest."""
    chance, (height, width) = np.random.default_rng(0), sizes.params.train.image_size
    rows = []
    for pid in range(1, sizes.people + 1):
        for number in range(sizes.images):
            name = f"{pid:04d}_{number}.jpg"
            coarse = chance.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((width, height)).save(folder / name, quality=90)
            names = [name, *(f"{copy}_{name}" for copy in range(1, sizes.copies))]
            for other in names[1:]:
                (folder / other).hardlink_to(folder / name)
            rows += [ImageRow(one, one, "train", pid, number % 2, "0" * 64) for one in names]
    return write_manifest(folder / "manifest.csv", rows, folder)


def drawn_store(sizes: Sizes, path: Path, manifest: Manifest) -> HeatmapStore:
    """Write a store of random heatmaps at a quarter of the images' size."""
    height, width = sizes.params.train.image_size
    attributes = StoreAttributes(
        keypoints=COCO_KEYPOINTS, codec="tau8", tau=0.001,
        input_size=(height, width), heatmap_size=(height // 4, width // 4),
        geometry="resize", network="drawn", config_sha256="0" * 64, weights_sha256="0" * 64,
        manifest_fingerprint=manifest.fingerprint, precision="float32", flip_test=False, batch_size=1,
    )  # fmt: skip
    writer = create_store(path, manifest.rows, attributes, 256)
    drawn = np.random.default_rng(0).random((256, *writer.layout.image_shape), np.float32) ** 8
    for shard in writer.pending():
        writer.write(shard, drawn[: len(writer.rows(shard))])
    return open_store(writer.seal())
