"""Recipe: find what is wrong with a data set before anything is computed from it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pirt.benchmarks import BENCHMARKS, Benchmark, benchmark_with, counts_of
from pirt.core.errors import DataError
from pirt.core.files import sha256_of
from pirt.core.images import read_image
from pirt.core.manifest import ImageRow, Manifest, Rows, Split
from pirt.core.pids import DISTRACTOR_PID, JUNK_PID
from pirt.core.rows import Integers
from pirt_stages.data.importing.recipe import in_threads

_EXAMPLES = 2
_NO_PID = JUNK_PID - 1


@dataclass(frozen=True)
class Finding:
    """One line of the table; `good` None only informs."""

    question: str
    good: bool | None
    answer: str


def check(manifest: Manifest, benchmark: str | None = None) -> list[Finding]:
    """Answer every question about `manifest`; `benchmark` names the one whose published counts it must have."""
    rows = manifest.rows
    return [*_counts(rows, benchmark), _files(manifest), *check_rows(rows)]


def check_rows(rows: Rows) -> list[Finding]:
    """Answer what can be answered without looking at the images."""
    return [_overlap(rows), _nobody(rows), _duplicates(rows), _unmatched(rows), _one_camera(rows)]


def _counts(rows: Rows, name: str | None) -> list[Finding]:
    found = counts_of(rows)
    expected = _benchmark(name) if name is not None else benchmark_with(found)
    if expected is None:
        said = ", ".join(f"{split} {count:,}" for split, count in found.items())
        return [Finding("images", None, f"{said}; no published benchmark has these counts")]
    findings = []
    for split, count in found.items():
        published = expected.counts[split]
        # Most data sets have neither, of which nothing need be said.
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

    def trouble(row: ImageRow) -> str | None:
        path = manifest.image_path(row)
        try:
            read_image(path)
        except DataError as error:
            return str(error)
        return None if sha256_of(path) == row.sha256 else f"{path} was changed after the import"

    # Once, though a file may stand in two splits.
    files = manifest.rows.take(np.sort(np.unique(manifest.rows.paths.hashes(), return_index=True)[1]))
    bad = [said for said in in_threads(trouble, files, "read") if said is not None]
    return Finding("files readable and as imported", not bad, _examples(bad) or f"all {len(files):,}")


def _overlap(rows: Rows) -> Finding:
    persons, train = rows.pids > DISTRACTOR_PID, rows.of_split("train")
    trained, tested = np.unique(rows.pids[persons & train]), np.unique(rows.pids[persons & ~train])
    both = [f"pid {pid}" for pid in np.intersect1d(trained, tested, assume_unique=True).tolist()]
    answer = _examples(both) or f"{len(trained):,} train, {len(tested):,} test identities"
    return Finding("train and test identities differ", not both, answer)


def _nobody(rows: Rows) -> Finding:
    """Find distractors where persons are expected, as in data whose persons are numbered from 0."""
    nobody = rows.take((rows.pids == DISTRACTOR_PID) & ~rows.of_split("gallery")).keys
    return Finding("no query or training image of pid 0", not nobody, _examples(nobody) or "none")


def _duplicates(rows: Rows) -> Finding:
    """Find the same bytes in two splits; a gallery copy of a query, which the protocol drops, does no harm."""
    _, image, count = np.unique(rows.sha256s.hashes(), return_inverse=True, return_counts=True)
    places: dict[str, list[ImageRow]] = defaultdict(list)
    # Objects are made of the few copies alone; of a million rows they would take seconds.
    for row in rows.take(count[image] > 1):
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


def _cameras(rows: Rows, split: Split) -> tuple[Integers, Integers, Integers]:
    """Return the persons of a split, ascending, and the lowest and highest camid of each: one camera if they agree."""
    persons = rows.of_split(split) & (rows.pids > DISTRACTOR_PID)
    pids, camids = rows.pids[persons], rows.camids[persons]
    order = np.lexsort((camids, pids))
    pids, camids = pids[order], camids[order]
    # All pids here are above a distractor's, so the first person begins a group too.
    first = np.flatnonzero(np.diff(pids, prepend=DISTRACTOR_PID))
    last = np.append(first[1:], len(pids))[: len(first)] - 1
    return pids[first], camids[first], camids[last]


def _unmatched(rows: Rows) -> Finding:
    # One more at the end, which is nobody's, for queries whose pid is above all.
    pids, lowest, highest = (np.append(numbers, _NO_PID) for numbers in _cameras(rows, "gallery"))
    asked = rows.of_split("query")
    # Without a label there is nothing to match; such queries are ranked, and not measured.
    queries = rows.take(asked & (rows.pids != JUNK_PID))
    place = np.searchsorted(pids[:-1], queries.pids)
    # Only where both are the query's own camera was the person seen by no other.
    elsewhere = (lowest[place] != queries.camids) | (highest[place] != queries.camids)
    alone = queries.take((pids[place] != queries.pids) | ~elsewhere).keys
    answer = _examples(alone) or f"all {len(queries):,}"
    if unlabelled := int(asked.sum()) - len(queries):
        answer += f"; {unlabelled:,} more have no label"
    good = None if unlabelled and not len(queries) else not alone
    return Finding("queries have a match in another camera", good, answer)


def _one_camera(rows: Rows) -> Finding:
    pids, lowest, highest = _cameras(rows, "train")
    alone = [f"pid {pid}" for pid in pids[lowest == highest].tolist()]
    return Finding("train identities seen by one camera only", None, _examples(alone) or "none")


def _examples(items: Sequence[str]) -> str:
    if not items:
        return ""
    more = ", …" if len(items) > _EXAMPLES else ""
    return f"{len(items):,}: {', '.join(items[:_EXAMPLES])}{more}"
