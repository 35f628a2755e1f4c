"""The published benchmarks and their counts, to tell whether data are complete."""

from collections.abc import Iterable
from dataclasses import dataclass

from pirt.core.manifest import SPLITS, ImageRow, Rows
from pirt.core.pids import DISTRACTOR_PID, JUNK_PID


@dataclass(frozen=True)
class Benchmark:
    """Images a split as published; `gallery` includes junk (pid −1) and distractors (pid 0)."""

    name: str
    title: str
    train: int
    query: int
    gallery: int
    junk: int = 0
    distractors: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """Published counts by split, junk and distractors among the gallery's again on their own."""
        return {
            "train": self.train,
            "query": self.query,
            "gallery": self.gallery,
            "junk": self.junk,
            "distractors": self.distractors,
        }


BENCHMARKS: tuple[Benchmark, ...] = (
    Benchmark("market1501", "Market-1501", 12_936, 3_368, 19_732, junk=3_819, distractors=2_798),
    Benchmark("dukemtmc_reid", "DukeMTMC-reID", 16_522, 2_228, 17_661),
    Benchmark("occluded_dukemtmc", "Occluded-DukeMTMC", 15_618, 2_210, 17_661),
    Benchmark("cuhk03_np_detected", "CUHK03-NP, detected", 7_365, 1_400, 5_332),
    Benchmark("cuhk03_np_labeled", "CUHK03-NP, labeled", 7_368, 1_400, 5_328),
    Benchmark("occluded_reid", "Occluded-REID", 0, 1_000, 1_000),
    Benchmark("partial_reid", "Partial-REID", 0, 300, 300),
    Benchmark("partial_ilids", "Partial-iLIDS", 0, 119, 119),
    Benchmark("p_dukemtmc_reid", "P-DukeMTMC-reID", 12_927, 2_163, 9_053),
    Benchmark("msmt17", "MSMT17", 30_248, 11_659, 82_161),
    Benchmark("msmt17_with_val", "MSMT17, validation joined to training", 32_621, 11_659, 82_161),
)


def counts_of(rows: Iterable[ImageRow]) -> dict[str, int]:
    """Count rows as `Benchmark.counts` does."""
    held = Rows.of(rows)
    counts: dict[str, int] = {split: int(held.of_split(split).sum()) for split in SPLITS}
    pids = held.pids[held.of_split("gallery")]
    return {**counts, "junk": int((pids <= JUNK_PID).sum()), "distractors": int((pids == DISTRACTOR_PID).sum())}


def benchmark_with(counts: dict[str, int]) -> Benchmark | None:
    """Return the benchmark whose published counts are exactly `counts`."""
    return next((benchmark for benchmark in BENCHMARKS if benchmark.counts == counts), None)
