"""What evaluation and search cost, each against a named baseline in the same run.

    python benchmarks/evaluate.py [rank] [match] [million] [search] [--scratch DIR]

Every part runs in a process of its own, so that its peak memory is its own. Prints Markdown.
"""

import argparse
import multiprocessing
import os
import platform
import resource
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pirt.core.manifest import ImageRow
from pirt.ranking.embeddings import EmbeddingsLineage, open_embeddings, write_embeddings
from pirt.ranking.evaluation import query_blocks
from pirt.ranking.matching import (
    DEFAULT_MODE,
    Features,
    coarse_to_fine,
    global_distances,
    make_features,
    nearest,
)
from pirt.ranking.metrics import rank_metrics
from pirt.ranking.params import EvaluateParams
from pirt.ranking.recipe import measure
from pirt.ranking.results import Metrics
from pirt.runs.params import ModelParams, TrainParams
from pirt_stages.search.index import RECALLED, CoarseIndex, IndexKind, open_index, recall_of

MILLION, QUERIES, CHANNELS = 1_000_000, 5_000, 512
IMAGES_A_PERSON = 20
SEARCHED = 500


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def rank(_: Path) -> Iterator[str]:
    """`rank_metrics` against sorting the matrix, at Market-1501's size."""
    queries, gallery = 3368, 15913
    chance = np.random.default_rng(0)
    distances = chance.random((queries, gallery), dtype=np.float32)
    query_pids, query_camids = chance.integers(1, 751, queries), chance.integers(0, 6, queries)
    gallery_pids = np.concatenate([chance.integers(1, 751, 13115), np.zeros(gallery - 13115, int)])
    gallery_camids = chance.integers(0, 6, gallery)

    def ours() -> object:
        return rank_metrics(distances, query_pids, gallery_pids, query_camids, gallery_camids)

    holds = np.empty(distances.shape, bool)

    def compare() -> object:
        return np.less(distances, np.float32(0.5), out=holds)

    rounds = [
        (seconds_of(ours), seconds_of(compare), seconds_of(lambda: np.argsort(distances, axis=1))) for _ in range(5)
    ]
    counting, comparing, sorting = (min(column) for column in zip(*rounds, strict=True))
    tracemalloc.start()
    ours()
    peak = tracemalloc.get_traced_memory()[1]
    yield f"Market-1501's size, {queries:,} × {gallery:,} float32, random distances, best of {len(rounds)}:"
    yield ""
    yield "| | seconds | passes |"
    yield "|---|---|---|"
    yield f"| one pass: `np.less(distances, 0.5, out=…)`, one thread | {comparing:.3f} | 1 |"
    yield f"| `np.argsort(distances, axis=1)`, one thread | {sorting:.2f} | {sorting / comparing:.0f} |"
    yield f"| `rank_metrics`, {torch.get_num_threads()} threads | {counting:.3f} | {counting / comparing:.1f} |"
    yield ""
    yield f"Peak extra memory of `rank_metrics`: {peak / 1e6:.1f} MB."


def match(_: Path) -> Iterator[str]:
    """Coarse-to-fine against the global matrix product alone, at Occluded-DukeMTMC's size."""
    queries, images, C, G, top_n = 2210, 17661, 2048, 3, 100
    query, gallery = (random_features(count, C, G, seed) for seed, count in enumerate((queries, images)))
    blocks = list(query_blocks(queries, images))
    times: dict[str, list[float]] = {"product": [], "top": [], "fine": []}
    for _round in range(3):
        taken = dict.fromkeys(times, 0.0)
        for rows in blocks:
            asked = query[rows]
            began = time.perf_counter()
            distances = global_distances(asked, gallery)
            multiplied = time.perf_counter()
            nearest(distances, top_n)
            selected = time.perf_counter()
            for _ranking in coarse_to_fine(asked, gallery, distances, distances, top_n, [DEFAULT_MODE], "euclidean"):
                pass
            taken["product"] += multiplied - began
            taken["top"] += selected - multiplied
            taken["fine"] += time.perf_counter() - selected
        for name, value in taken.items():
            times[name].append(value)
    product, top, fine = (min(times[name]) for name in times)
    yield f"Occluded-DukeMTMC's size, {queries:,} × {images:,}, 2 global and {G} group features of {C}, N = {top_n}:"
    yield ""
    yield "| | seconds | ratio |"
    yield "|---|---|---|"
    yield f"| global matrix product alone | {product:.2f} | 1 |"
    yield f"| fine stage, whole: top {top_n}, group distances, new order | {fine:.2f} | {fine / product:.2f} |"
    yield f"| of it, finding the top {top_n} | {top:.2f} | {top / product:.2f} |"
    yield f"| coarse-to-fine in all | {product + fine:.2f} | {1 + fine / product:.2f} |"


def random_features(count: int, C: int, G: int, seed: int) -> Features:
    """Draw two global and G group features with confidences."""
    generator = torch.Generator().manual_seed(seed)
    groups = torch.randn(count, G, C, generator=generator)
    confidence = torch.rand(count, G, generator=generator)
    confidence /= confidence.sum(dim=1, keepdim=True)
    return make_features([torch.randn(count, C, generator=generator) for _ in range(2)], groups, confidence)


def million(scratch: Path) -> Iterator[str]:
    """`pirt-eval --from-embeddings` on a gallery of a million."""
    embeddings = open_embeddings(million_file(scratch))
    found: list[Metrics] = []

    def evaluate() -> None:
        found.append(measure(embeddings, EvaluateParams(), torch.device("cpu")))

    worked = time.process_time()
    taken = seconds_of(evaluate)
    worked = time.process_time() - worked
    yield f"{QUERIES:,} queries, {MILLION:,} gallery embeddings of {CHANNELS} dimensions, from file to metrics:"
    yield ""
    spent = f"{taken:.0f} s ({worked:.0f} s of processor time)"
    yield f"{spent}, peak memory of the process {peak_gigabytes():.2f} GB (mAP {found[-1].mean_ap:.4f})."


def search(scratch: Path) -> Iterator[str]:
    """The coarse stage of `pirt-search` on the same million."""
    embeddings = open_embeddings(million_file(scratch))
    unit = embeddings.unit_globals(embeddings.rows("query"))
    # Others than the queries that the index is tuned on, which are spread evenly over all.
    chosen = Features(unit[len(unit) // 128 :: len(unit) // SEARCHED][:SEARCHED].contiguous(), 1)
    yield f"{MILLION:,} gallery embeddings of {CHANNELS} dimensions, {len(chosen)} queries, their nearest {RECALLED}:"
    yield ""
    yield "| index | effort | built in | recall@100 | one at a time, median | 99th percentile | all at once, each |"
    yield "|---|---|---|---|---|---|---|"
    exact: torch.Tensor | None = None
    kinds: tuple[IndexKind, ...] = ("flat", "ivf")
    for kind in kinds:
        began = time.perf_counter()
        with open_index(embeddings, kind, 0.99, scratch / f"{kind}.index") as index:
            built = time.perf_counter() - began
        images, single, together = search_times(index, chosen, 20 if kind == "flat" else SEARCHED)
        exact = images if exact is None else exact
        median, late = np.percentile(single, [50, 99]) * 1e3
        yield (
            f"| {kind} | {index.made_for.effort} | {built:.0f} s | {recall_of(images, exact):.4f} | {median:.1f} ms | "
            f"{late:.1f} ms | {together * 1e3:.1f} ms |"
        )
        del index
    yield ""
    yield f"Peak memory of the process: {peak_gigabytes():.2f} GB. Intrinsic dimension of the embeddings (maximum "
    yield f"likelihood, 20 neighbours among 5,000): {intrinsic_dimension(unit):.0f}."


def intrinsic_dimension(unit: torch.Tensor) -> float:
    """Levina and Bickel's estimate: how fast the number of neighbours grows with the distance."""
    distances = torch.cdist(unit, unit).sort(dim=1).values[:, 1:21]
    return float((1 / torch.log(distances[:, -1:] / distances).sum(dim=1).div(19)).median())


def search_times(index: CoarseIndex, queries: Features, singles: int) -> tuple[torch.Tensor, list[float], float]:
    """Return the nearest 100 images, the seconds of `singles` single queries, and of one among all at once."""
    single = []
    for row in range(singles):
        began = time.perf_counter()
        index.search(queries[row : row + 1], RECALLED)
        single.append(time.perf_counter() - began)
    began = time.perf_counter()
    images = index.search(queries, RECALLED).images
    return images, single, (time.perf_counter() - began) / len(queries)


def million_file(scratch: Path) -> Path:
    """Write embeddings of people, of about the intrinsic dimension that trained models were seen to have (8 to 26).

    A person is a point of 48 dimensions that matter less and less, an image adds 24 dimensions of view and noise.
    """
    path = scratch / "million.h5"
    if path.exists():
        return path
    people = MILLION // IMAGES_A_PERSON
    chance = np.random.default_rng(0)
    person = directions(chance, 48)
    view = 0.4 * directions(chance, 24)
    looks = chance.standard_normal((people, len(person)), dtype=np.float32)
    pids = np.concatenate([chance.integers(0, people, QUERIES), np.arange(MILLION) % people])
    camids = chance.integers(0, 8, QUERIES + MILLION)
    images = [
        ImageRow(f"{row:07}.jpg", "", "query" if row < QUERIES else "gallery", int(pids[row]) + 1, int(camids[row]), "")
        for row in range(QUERIES + MILLION)
    ]
    lineage = EmbeddingsLineage(
        variant="baseline",
        seed=0,
        model=ModelParams(parts=False, intra=False, inter_layers=0),
        train=TrainParams(),
        checkpoint_sha256="0" * 64,
        trained_on_manifest="0" * 64,
        trained_on_heatmaps=None,
        initial_weights_sha256=None,
        manifest_fingerprint="0" * 64,
        heatmaps_fingerprint=None,
        image_size=(384, 128),
    )

    def batches() -> Iterator[dict[str, torch.Tensor]]:
        for start in range(0, len(images), 1 << 14):
            of = looks[pids[start : start + (1 << 14)]]
            views = chance.standard_normal((len(of), len(view)), dtype=np.float32)
            noise = 0.02 * chance.standard_normal((len(of), CHANNELS), dtype=np.float32)
            yield {"global": torch.from_numpy(of @ person + views @ view + noise)}

    write_embeddings(path, images, lineage, batches())
    return path


def directions(chance: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Draw `count` directions whose lengths fall with the square root of their number."""
    lengths = (CHANNELS * np.arange(1, count + 1, dtype=np.float32)) ** -0.5
    drawn: NDArray[np.float32] = lengths[:, None] * chance.standard_normal((count, CHANNELS), dtype=np.float32)
    return drawn


def peak_gigabytes() -> float:
    """Return the most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


PARTS = {part.__name__: part for part in (rank, match, million, search)}


def make(scratch: Path) -> Iterator[str]:
    """Write what two parts share, so that its making is not in their memory."""
    yield str(million_file(scratch))


def lines_of(part: Callable[[Path], Iterator[str]], scratch: Path) -> list[str]:
    """Run one part in this process."""
    return list(part(scratch))


def in_own_process(part: Callable[[Path], Iterator[str]], scratch: Path) -> list[str]:
    """Run one part in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(lines_of, (part, scratch))


def main() -> None:
    """Run the parts that are asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all without")
    parser.add_argument("--scratch", type=Path, help="keeps the 2 GB of embeddings and the index for the next run")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - PARTS.keys():
        parser.error(f"no part {sorted(unknown)[0]!r}; there are {', '.join(PARTS)}")
    print(f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, numpy {np.__version__}\n")
    with tempfile.TemporaryDirectory() as temporary:
        scratch = asked.scratch or Path(temporary)
        scratch.mkdir(parents=True, exist_ok=True)
        for name in asked.parts or PARTS:
            if name in ("million", "search"):
                in_own_process(make, scratch)
            print(f"## {name}\n")
            print("\n".join(in_own_process(PARTS[name], scratch)) + "\n", flush=True)


if __name__ == "__main__":
    main()
