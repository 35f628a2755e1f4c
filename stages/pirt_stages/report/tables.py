"""The paper's tables, filled with the results of one benchmark."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import Literal

from pirt.benchmarks import Benchmark
from pirt.core.errors import ReportError
from pirt.core.params import Frozen
from pirt.ranking.results import Origins, Scores
from pirt.visual.rows import BASELINE_ROW, FULL_ROW, TableRow
from pirt_stages.report import paper
from pirt_stages.report.results import Result

METRICS = {"mAP": "mean_ap", "mINP": "mean_inp", "rank-1": "rank_1", "rank-5": "rank_5", "rank-10": "rank_10"}
FEW_SEEDS = 3
MODES = {"query-gallery": "Q & G", "query": "Q only", "gallery": "G only", "none": "No confidence score"}


class Score(Frozen):
    """A metric in percent over the seeds of one row; `std` needs two seeds."""

    mean: float
    std: float | None


class Measured(Frozen):
    """Our result in one row: a score for each of `METRICS` and the runs that they come from.

    `configuration` is where the lineage tells about these runs.
    """

    configuration: str
    scores: dict[str, Score]
    seeds: tuple[int, ...]
    epochs: int
    runs: tuple[str, ...]

    @property
    def marks(self) -> str:
        """Return † for fewer epochs than the paper's and ‡ for few seeds."""
        short = self.epochs < paper.PAPER_EPOCHS
        return ("†" if short else "") + ("‡" if len(self.seeds) < FEW_SEEDS else "")


class Entry(Frozen):
    """One benchmark's part of a row; a row that is ours to run but was not has `ours` None."""

    runnable: bool = True
    ours: Measured | None = None
    published: paper.Published | None = None


class Row(Frozen):
    """One line of a table: what it stands for, and an entry for each benchmark of the table."""

    head: tuple[str, ...]
    entries: tuple[Entry, ...]


class Table(Frozen):
    """One table of the paper."""

    number: int
    caption: str
    benchmarks: tuple[str, ...]
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def topic(self) -> str:
        """Return the caption with the benchmarks."""
        return f"{self.caption} on {' and '.join(self.benchmarks)}"

    @property
    def title(self) -> str:
        """Return the caption with number and benchmarks."""
        return f"Table {self.number}. {self.topic}"


class Report(Frozen):
    """All tables of a report and the lineage of every run in them."""

    format_version: Literal[1] = 1
    tables: tuple[Table, ...]
    runs: tuple["RunLineage", ...]


class RunLineage(Frozen):
    """What one run was made with and from; `run` is its name in the tables."""

    configuration: str
    run: str
    benchmark: str
    seed: int
    variant: str | None
    model: dict[str, object]
    train: dict[str, object]
    protocol: dict[str, object]
    counts: dict[str, int]
    lineage: Origins


def build_report(benchmark: str, results: Sequence[Result], *, stand_in: bool) -> Report:
    """Fill the tables that belong to `benchmark`.

    Published numbers stand beside ours only where `benchmark` is one of the paper's, the results are not of
    a stand-in (`stand_in` says so of one that `pirt-data` did not make), and they are of the published images,
    trained and measured as in the paper.
    """
    known = set(paper.TABLE_3) | {(True, True, layers) for layers in paper.TABLE_4}
    if not any(result.row in known for result in results):
        raise ReportError(
            f"none of the {len(results)} results is a row of the paper's tables (baseline, parts, parts + intra, "
            "parts + intra + 1 to 4 inter layers); evaluate one of these variants"
        )
    stand_in = stand_in or results[0].lineage.stand_in
    data = paper.published_data(benchmark)
    obstacles = _obstacles(data, results[0]) if data and not stand_in else []
    compared = data if data and not stand_in and not obstacles else None
    name = (data.title if data else benchmark) + (" (stand-in)" if stand_in else "")
    notes = _data_notes(compared, obstacles, results, stand_in)
    tables = [
        table.model_copy(update={"notes": (*_notes(table), *table.notes, *notes)})
        for table in _tables(name, data, compared, results)
    ]
    return Report(tables=tuple(tables), runs=tuple(_lineage(name, result) for result in results))


def join_tables(tables: Iterable[Table]) -> tuple[Table, ...]:
    """Order tables by number and set the benchmarks of Table 2 side by side, as in the paper."""
    joined: list[Table] = []
    for table in sorted(tables, key=lambda table: table.number):
        last = joined[-1] if joined else None
        same_rows = last is not None and [row.head for row in last.rows] == [row.head for row in table.rows]
        if last and last.number == table.number == 2 and same_rows:
            joined[-1] = _side_by_side(last, table)
        else:
            joined.append(table)
    return tuple(joined)


def _side_by_side(left: Table, right: Table) -> Table:
    rows = (Row(head=a.head, entries=a.entries + b.entries) for a, b in zip(left.rows, right.rows, strict=True))
    shared = [note for note in left.notes if note in right.notes]
    apart = [
        f"{' and '.join(table.benchmarks)}: {note}"
        for table in (left, right)
        for note in table.notes
        if note not in shared
    ]
    return left.model_copy(
        update={
            "benchmarks": left.benchmarks + right.benchmarks,
            "rows": tuple(rows),
            "notes": (*apart, *shared),
        }
    )


def _obstacles(data: Benchmark, result: Result) -> list[str]:
    """Say what keeps the numbers published on `data` from standing beside the result."""
    lineage, obstacles = result.lineage, []
    if lineage.trained_on_manifest != lineage.manifest_fingerprint:
        obstacles.append("trained on another data set")
    if lineage.initial_weights_sha256 is not None:
        obstacles.append("fine-tuned from another run")
    published = {
        "queries": data.query,
        "gallery": data.gallery - data.junk,
        "junk": data.junk,
        "distractors": data.distractors,
        "unreadable": 0,
    }
    return [
        *obstacles,
        *_unlike(result.counts.model_dump(), published),
        *_unlike(result.protocol.model_dump(), paper.MEASURE),
    ]


def _unlike(found: Mapping[str, object], expected: Mapping[str, object]) -> list[str]:
    return [
        f"{name} {found.get(name)} instead of {value}" for name, value in expected.items() if found.get(name) != value
    ]


def _tables(
    name: str, data: Benchmark | None, compared: Benchmark | None, results: Sequence[Result]
) -> Iterable[Table]:
    by_row: dict[TableRow, list[Result]] = {}
    for result in results:
        by_row.setdefault(result.row, []).append(result)
    ablation = compared is not None and compared.title == paper.OCCLUDED_DUKE
    if data is not None:
        yield _methods(name, data, compared, by_row)
    if data is None or data.title == paper.OCCLUDED_DUKE or len(by_row) > 1:
        yield _components(name, by_row, ablation)
        yield _layers(name, by_row, ablation)
        yield _modes(name, by_row.get(FULL_ROW, []), ablation)


def _methods(
    name: str,
    data: Benchmark,
    compared: Benchmark | None,
    by_row: Mapping[TableRow, Sequence[Result]],
) -> Table:
    """Tables 1 and 2: ours among published methods, or ours alone where the data are not the paper's."""
    occluded = data.title == paper.OCCLUDED_DUKE
    numbers = paper.TABLE_1 if occluded else paper.TABLE_2[data.title]
    ours = {paper.BASELINE: BASELINE_ROW, paper.FULL: FULL_ROW}
    rows = [
        Row(
            head=(method,),
            entries=(
                Entry(
                    runnable=method in ours,
                    ours=_measured(by_row.get(ours[method], [])) if method in ours else None,
                    published=published if compared else None,
                ),
            ),
        )
        for method, published in numbers.items()
        if compared or method in ours
    ]
    caption = "Comparison with published methods" if compared else "Our result"
    return _table(1 if occluded else 2, caption, name, ("Method",), rows)


def _components(name: str, by_row: Mapping[TableRow, Sequence[Result]], ablation: bool) -> Table:
    rows = [
        Row(
            head=tuple("✓" if on else "×" for on in row),
            entries=(Entry(ours=_measured(by_row.get(row, [])), published=published if ablation else None),),
        )
        for row, published in paper.TABLE_3.items()
    ]
    return _table(3, "Components", name, ("P", "Intra", "Inter"), rows)


def _layers(name: str, by_row: Mapping[TableRow, Sequence[Result]], ablation: bool) -> Table:
    rows = [
        Row(
            head=(str(layers),),
            entries=(
                Entry(
                    ours=_measured(by_row.get((True, True, layers), [])),
                    published=published if ablation else None,
                ),
            ),
        )
        for layers, published in paper.TABLE_4.items()
    ]
    return _table(4, "Number of inter-part transformer units", name, ("N",), rows)


def _modes(name: str, results: Sequence[Result], ablation: bool) -> Table:
    rows = [
        Row(
            head=(label,),
            entries=(
                Entry(
                    ours=_measured([result for result in results if mode in result.confidence_modes], mode),
                    published=paper.TABLE_5[mode] if ablation else None,
                ),
            ),
        )
        for mode, label in MODES.items()
    ]
    made = _table(5, "Combination of confidence scores in matching", name, ("Combination",), rows)
    return made.model_copy(update={"notes": tuple(_evenly(results))})


def _evenly(results: Sequence[Result]) -> Iterable[str]:
    """Say what the row without confidences comes to when its groups weigh no more than those of the others."""
    measured = _measured([result for result in results if "even" in result.confidence_modes], "even")
    if measured is not None:
        scores = ", ".join(f"{name} {measured.scores[name].mean:.2f}" for name in ("mAP", "rank-1"))
        yield (
            "Without confidence scores each of G groups weighs 1, with them all together at most 1. With 1/G each, "
            f"which leaves the balance with the global distance as it is: {scores}."
        )


def _table(number: int, caption: str, name: str, head: tuple[str, ...], rows: Sequence[Row]) -> Table:
    return Table(number=number, caption=caption, benchmarks=(name,), head=head, rows=tuple(rows), notes=())


def _measured(results: Sequence[Result], mode: str | None = None) -> Measured | None:
    """Average `results` over their seeds, in one of Table 5's modes or in the run's own matching."""
    if not results:
        return None
    by_seed = sorted(results, key=lambda result: result.seed)
    scores: list[Scores] = [r if mode is None else dict(r.confidence_modes.items())[mode] for r in by_seed]  # type: ignore[index]
    values = {name: [100 * getattr(score, field) for score in scores] for name, field in METRICS.items()}
    return Measured(
        configuration=by_seed[0].configuration,
        scores={name: Score(mean=mean(v), std=stdev(v) if len(v) > 1 else None) for name, v in values.items()},
        seeds=tuple(result.seed for result in by_seed),
        epochs=by_seed[0].train.epochs,
        runs=tuple(result.run for result in by_seed),
    )


def _notes(table: Table) -> list[str]:
    measured = [entry.ours for row in table.rows for entry in row.entries if entry.ours]
    notes = []
    if measured:
        seeds = sorted({len(m.seeds) for m in measured})
        epochs = measured[0].epochs
        spread = "Mean ± standard deviation over" if seeds[-1] > 1 else "From"
        count = " to ".join(str(number) for number in sorted({seeds[0], seeds[-1]}))
        notes.append(f"{spread} {count} seed{'s' if count != '1' else ''}, {epochs} epochs of training.")
        if epochs < paper.PAPER_EPOCHS:
            notes.append(f"† {epochs} epochs, fewer than the paper's {paper.PAPER_EPOCHS}.")
        if seeds[0] < FEW_SEEDS:
            notes.append(f"‡ Fewer than {FEW_SEEDS} seeds: the order of such rows may be chance.")
    if any(entry.runnable and not entry.ours for row in table.rows for entry in row.entries):
        notes.append("– was not run.")
    if any(entry.published for row in table.rows for entry in row.entries):
        notes.append("Paper: as published (Pirt, ACM MM 2021), not run by us; Δ is ours minus the paper's.")
    return notes


def _data_notes(
    compared: Benchmark | None, obstacles: Sequence[str], results: Sequence[Result], stand_in: bool
) -> list[str]:
    notes, result = [], results[0]
    origins = [result.lineage for result in results]
    stores = len({name for o in origins for name in (o.trained_on_heatmaps, o.heatmaps_fingerprint) if name})
    if result.lineage.trained_on_manifest != result.lineage.manifest_fingerprint:
        notes.append("Trained on another data set than measured on.")
    elif stores > 1:
        notes.append(f"Trained and measured with heatmaps of {stores} different stores; the lineage says which.")
    if stand_in:
        notes.append("Stand-in images in the benchmark's layout: the numbers only show that the pipeline runs.")
    elif obstacles:
        notes.append(f"No published number stands beside these: {'; '.join(obstacles)}.")
    elif compared and (unlike := _unlike(result.protocol.model_dump(), paper.MATCHING)):
        notes.append(f"Not matched as in the paper: {'; '.join(unlike)}.")
    return notes


def _lineage(name: str, result: Result) -> RunLineage:
    return RunLineage(
        configuration=result.configuration,
        run=result.run,
        benchmark=name,
        seed=result.seed,
        variant=result.variant,
        model=result.model.model_dump(mode="json"),
        train=result.train.model_dump(mode="json"),
        protocol=result.protocol.model_dump(mode="json"),
        counts=result.counts.model_dump(),
        lineage=result.lineage,
    )
