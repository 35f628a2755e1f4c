"""What an explorer costs at Occluded-DukeMTMC's size, over measuring the same two evaluations.

    python benchmarks/explore.py --manifest runs/manifest.csv [--scratch DIR]

Features are drawn; the pictures are those of the manifest's images, over and over. Prints Markdown.
"""

import argparse
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.manifest import ImageRow, Manifest, Split, read_manifest, write_manifest
from pirt.heatmaps.schema import StoreAttributes
from pirt.ranking.embeddings import EmbeddingsLineage, open_embeddings, write_embeddings
from pirt.ranking.params import EvaluateParams
from pirt.ranking.recipe import measure
from pirt.ranking.results import write_metrics
from pirt.runs.params import ModelParams, TrainParams
from pirt_stages.explore.recipe import explore
from pirt_stages.pose.extraction.writer import create_store

QUERIES, GALLERY, PEOPLE, CAMERAS, CHANNELS = 2_210, 17_661, 1_110, 8, 512
GRID = (32, 16)
_CPU = torch.device("cpu")
_BATCH = 512
_Result = TypeVar("_Result")


def timed(work: Callable[[], _Result]) -> tuple[_Result, float, float]:
    """Return what `work` returns, its seconds, and the seconds that its cores were busy."""
    began, busy = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - began, time.process_time() - busy


def large_manifest(folder: Path, images: Manifest) -> Manifest:
    """List as many rows as the benchmark has, over the files that are there."""
    chance = np.random.default_rng(0)
    rows = []
    splits: list[Split] = ["query"] * QUERIES + ["gallery"] * GALLERY  # type: ignore[list-item]
    for number, split in enumerate(splits):
        source = images.rows[number % len(images.rows)]
        pid, camid = int(chance.integers(1, PEOPLE)), int(chance.integers(0, CAMERAS))
        rows.append(ImageRow(f"{split}/{number:07}.jpg", source.path, split, pid, camid, source.sha256))
    return write_manifest(folder / "manifest.csv", rows, images.root.resolve())


def write_store(folder: Path, manifest: Manifest) -> Path:
    """Write a store of smooth blobs."""
    attributes = StoreAttributes(
        keypoints=COCO_KEYPOINTS,
        codec="tau8",
        tau=0.001,
        input_size=(128, 64),
        heatmap_size=GRID,
        geometry="resize",
        network="drawn",
        config_sha256="0" * 64,
        weights_sha256="0" * 64,
        precision="float32",
        flip_test=False,
        batch_size=1,
    )
    writer = create_store(folder / "heatmaps.zarr", manifest.rows, attributes, shard_size=4096)
    chance = np.random.default_rng(1)
    y, x = np.mgrid[: GRID[0], : GRID[1]]
    for shard in writer.pending():
        count = len(writer.rows(shard))
        centre_y, centre_x, height = (chance.random((count, 17, 1, 1), np.float32) for _ in range(3))
        squares = (y - GRID[0] * centre_y) ** 2 + (x - GRID[1] * centre_x) ** 2
        writer.write(shard, (height * np.exp(-squares / 8)).astype(np.float32))
    return writer.seal()


def write_evaluation(folder: Path, manifest: Manifest, seed: int) -> float:
    """Write drawn embeddings of a model with parts and their metrics; return how long measuring keeps a core busy."""
    pids = np.array([row.pid for row in manifest.rows])
    lineage = EmbeddingsLineage(
        variant=folder.name,
        seed=seed,
        model=ModelParams(),
        train=TrainParams(),
        checkpoint_sha256=f"{seed}" * 64,
        trained_on_manifest=manifest.fingerprint,
        trained_on_heatmaps=None,
        initial_weights_sha256=None,
        manifest_fingerprint=manifest.fingerprint,
        heatmaps_fingerprint=None,
        image_size=(128, 64),
    )

    def batches() -> Iterator[dict[str, torch.Tensor]]:
        chance = np.random.default_rng(seed)
        people = {name: chance.standard_normal((PEOPLE, n, CHANNELS), np.float32) for name, n in _SHAPES.items()}
        for start in range(0, len(pids), _BATCH):
            block = pids[start : start + _BATCH]
            drawn = {
                name: of[block] + 3 * chance.standard_normal((len(block), *of.shape[1:]), np.float32)
                for name, of in people.items()
            }
            confidence = chance.dirichlet([2, 2, 2], len(block)).astype(np.float32)
            yield {
                "stripe": torch.from_numpy(drawn["stripe"][:, 0]),
                "patch": torch.from_numpy(drawn["patch"][:, 0]),
                "groups": torch.from_numpy(drawn["groups"]),
                "confidence": torch.from_numpy(confidence),
            }

    write_embeddings(folder / "embeddings.h5", manifest.rows, lineage, batches())
    metrics, _, busy = timed(lambda: measure(open_embeddings(folder / "embeddings.h5"), EvaluateParams(), _CPU))
    write_metrics(metrics, folder)
    return busy


_SHAPES = {"stripe": 1, "patch": 1, "groups": 3}


_WATCH = """
new MutationObserver((_, watcher) => {
  if (!document.querySelector("#overview")) return;
  window.shownAt = performance.now();
  watcher.disconnect();
}).observe(document, { childList: true, subtree: true });
"""


def in_browser(page_file: Path) -> Iterator[str]:
    """Open the page in Chromium, if there is one, and sort."""
    if (chromium := shutil.which("chromium")) is None:
        yield "| Chromium is not installed | |"
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        seconds = []
        page.add_init_script(_WATCH)
        for _ in range(5):
            page.goto(page_file.as_uri())
            page.wait_for_selector("#overview")
            seconds.append(page.evaluate("shownAt") / 1000)
        yield f"| first page, median of 5 | {sorted(seconds)[2]:.2f} s |"
        page.goto(f"{page_file.as_uri()}#queries")
        page.wait_for_selector("#queries")
        sort = "() => { const began = performance.now(); document.querySelector('[data-column=ap0]').click(); "
        taken = sorted(page.evaluate(sort + "return performance.now() - began; }") for _ in range(5))
        yield f"| sorting all queries, median of 5 | {taken[2]:.0f} ms |"
        taken = []
        for number in (0, 777, 1555, 2100, 1200):
            began = time.perf_counter()
            page.goto(f"{page_file.as_uri()}#query={number}")
            page.wait_for_selector("#pair h3")
            taken.append(time.perf_counter() - began)
        yield f"| opening a query, median of 5 | {sorted(taken)[2]:.2f} s |"
        browser.close()


def main() -> None:
    """Make two evaluations, explore them and open the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True, help="whose images are shown")
    parser.add_argument("--scratch", type=Path, help="keeps the folder; a new one")
    asked = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, numpy {np.__version__}\n")
    with tempfile.TemporaryDirectory() as temporary:
        scratch = asked.scratch or Path(temporary)
        scratch.mkdir(parents=True, exist_ok=True)
        manifest = large_manifest(scratch, read_manifest(asked.manifest))
        store = write_store(scratch, manifest)
        folders = [scratch / name for name in ("first", "second")]
        measuring = sum(write_evaluation(folder, manifest, seed) for seed, folder in enumerate(folders, 1))
        out = scratch / "explore"
        _, seconds, busy = timed(lambda: explore(folders, manifest, store, None, out, _CPU))
        sizes = [file.stat().st_size for file in out.rglob("*") if file.is_file()]
        print("| what | |\n|---|--:|")
        print(f"| measuring both evaluations, core seconds | {measuring:.0f} |")
        print(f"| exploring them, core seconds | {busy:.0f}, {busy / measuring:.1f} times that |")
        print(f"| exploring them, on the clock | {seconds:.0f} s |")
        print(f"| folder | {sum(sizes) / 1e6:.1f} MB in {len(sizes)} files |")
        for line in in_browser(out / "index.html"):
            print(line)


if __name__ == "__main__":
    main()
