"""Recipe: look for what is wrong with a data set before anything is computed from it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pirt.benchmarks import BENCHMARKS, Benchmark, benchmark_with, counts_of
from pirt.core.errors import DataError
from pirt.core.files import sha256_of
from pirt.core.images import read_image
from pirt.core.manifest import DISTRACTOR_PID, ImageRow, Manifest, Split
from pirt_stages.data.importing.recipe import in_threads

_EXAMPLES = 2


@dataclass(frozen=True)
class Finding:
    """One line of the table; `good` None only informs."""

    question: str
    good: bool | None
    answer: str


def check(manifest: Manifest, benchmark: str | None = None) -> list[Finding]:
    """Answer every question about `manifest`; `benchmark` names whose published counts it must have."""
    rows = manifest.rows
    return [
        *_counts(rows, benchmark),
        _files(manifest),
        _overlap(rows),
        _nobody(rows),
        _duplicates(rows),
        _unmatched(rows),
        _one_camera(rows),
    ]


def _counts(rows: Sequence[ImageRow], name: str | None) -> list[Finding]:
    found = counts_of(rows)
    expected = _benchmark(name) if name is not None else benchmark_with(found)
    if expected is None:
        said = ", ".join(f"{split} {count:,}" for split, count in found.items())
        return [Finding("images", None, f"{said}; no published benchmark has these counts")]
    findings = []
    for split, count in found.items():
        published = expected.counts[split]
        if split in ("junk", "distractors") and count == published == 0:
            continue
        answer = f"{count:,}" if count == published else f"{count:,}, published are {published:,}"
        if split == "gallery" and found["junk"]:
            answer += f" = {count - found['junk']:,} + {found['junk']:,} junk"
        findings.append(Finding(f"{expected.title}: {split}", count == published, answer))
    return findings


def _benchmark(name: str) -> Benchmark:
    return next(benchmark for benchmark in BENCHMARKS if benchmark.name == name)


def _files(manifest: Manifest) -> Finding:
    """Read every file once as an image and once for its hash."""

    def trouble(path: Path) -> str | None:
        try:
            read_image(path)
        except DataError as error:
            return str(error)
        return None if sha256_of(path) == expected[path] else f"{path} was changed after the import"

    expected = {manifest.image_path(row): row.sha256 for row in manifest.rows}
    bad = [said for said in in_threads(trouble, list(expected), "read") if said is not None]
    return Finding("files readable and as imported", not bad, _examples(bad) or f"all {len(expected):,}")


def _overlap(rows: Iterable[ImageRow]) -> Finding:
    pids: dict[bool, set[int]] = {True: set(), False: set()}
    for row in rows:
        if row.pid > 0:
            pids[row.split == "train"].add(row.pid)
    both = sorted(pids[True] & pids[False])
    answer = (
        _examples([f"pid {pid}" for pid in both]) or f"{len(pids[True]):,} train, {len(pids[False]):,} test identities"
    )
    return Finding("train and test identities differ", not both, answer)


def _nobody(rows: Iterable[ImageRow]) -> Finding:
    """Find distractors where persons are expected, as in data that are numbered from 0."""
    nobody = [row.key for row in rows if row.pid == DISTRACTOR_PID and row.split != "gallery"]
    return Finding("no query or training image of pid 0", not nobody, _examples(nobody) or "none")


def _duplicates(rows: Iterable[ImageRow]) -> Finding:
    """Find the same bytes in two splits; a gallery copy that the protocol drops for its query does no harm."""
    places: dict[str, list[ImageRow]] = defaultdict(list)
    for row in rows:
        places[row.sha256].append(row)
    harmful, dropped = [], 0
    for copies in places.values():
        if len({row.split for row in copies}) < 2:
            continue
        if all(row.split != "train" for row in copies) and len({(row.pid, row.camid) for row in copies}) == 1:
            dropped += 1
        else:
            harmful.append(" = ".join(row.key for row in copies[:2]))
    answer = _examples(harmful) or "none"
    if dropped:
        answer += f"; {dropped:,} queries are in the gallery too, where the protocol drops them"
    return Finding("no image in two splits", not harmful, answer)


def _cameras(rows: Iterable[ImageRow], split: Split) -> dict[int, set[int]]:
    cameras: dict[int, set[int]] = defaultdict(set)
    for row in rows:
        if row.split == split and row.pid > 0:
            cameras[row.pid].add(row.camid)
    return cameras


def _unmatched(rows: Sequence[ImageRow]) -> Finding:
    gallery = _cameras(rows, "gallery")
    queries = [row for row in rows if row.split == "query"]
    alone = [row.key for row in queries if not gallery.get(row.pid, set()) - {row.camid}]
    answer = _examples(alone) or f"all {len(queries):,}"
    return Finding("queries have a match in another camera", not alone, answer)


def _one_camera(rows: Sequence[ImageRow]) -> Finding:
    cameras = _cameras(rows, "train")
    alone = [f"pid {pid}" for pid, seen in sorted(cameras.items()) if len(seen) < 2]
    return Finding("train identities seen by one camera only", None, _examples(alone) or "none")


def _examples(items: Sequence[str]) -> str:
    if not items:
        return ""
    more = ", …" if len(items) > _EXAMPLES else ""
    return f"{len(items):,}: {', '.join(items[:_EXAMPLES])}{more}"
