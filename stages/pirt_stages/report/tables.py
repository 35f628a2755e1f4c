"""The paper's tables, filled with the results of one benchmark."""

from collections.abc import Iterable, Mapping, Sequence

from pirt.benchmarks import Benchmark
from pirt.core.errors import ReportError
from pirt.visual.rows import BASELINE_ROW, FULL_ROW, TableRow, row_label
from pirt_stages.report import paper
from pirt_stages.report.backbones import backbone_table
from pirt_stages.report.measured import FEW_SEEDS, measured
from pirt_stages.report.results import Result
from pirt_stages.report.schema import Entry, Report, Row, RunLineage, Table
from pirt_stages.report.steps import step_notes

MODES = {"query-gallery": "Q & G", "query": "Q only", "gallery": "G only", "none": "No confidence score"}


def build_report(benchmark: str, results: Sequence[Result], *, stand_in: bool) -> Report:
    """Fill the tables that belong to `benchmark`.

    Published numbers stand beside ours only where `benchmark` is one of the paper's, the images are the published ones
    and not a stand-in (`stand_in` says so for one that `pirt-data` did not make), and models were trained and measured
    as in the paper. Results on several backbones make one table of them; Tables 1 to 5 have one backbone.
    """
    if not any(result.row in paper.MODELS for result in results):
        raise ReportError(
            f"none of the {len(results)} results is a row of the paper's tables (baseline, parts, parts + intra, "
            "parts + intra + 1 to 4 inter layers); evaluate one of these variants"
        )
    # Of the first one: all results are of one manifest (`read_results`).
    stand_in = stand_in or results[0].lineage.stand_in
    data = paper.published_data(benchmark)
    obstacles = _obstacles(data, results) if data and not stand_in else []
    compared = data if data and not stand_in and not obstacles else None
    name = (data.title if data else benchmark) + (" (stand-in)" if stand_in else "")
    notes = [*_data_notes(compared, obstacles, results, stand_in), *_left_out(results)]
    tables = [
        table.model_copy(update={"notes": (*_notes(table), *table.notes, *notes)})
        for table in _tables(name, data, compared, results)
    ]
    return Report(tables=tuple(tables), runs=tuple(_lineage(name, result) for result in results))


def join_tables(tables: Iterable[Table]) -> tuple[Table, ...]:
    """Order tables by number and set the benchmarks of Table 2 side by side, as in the paper."""
    joined: list[Table] = []
    # Stable: benchmarks stay in the order in which they were given.
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


def _obstacles(data: Benchmark, results: Sequence[Result]) -> list[str]:
    """Say why the numbers published on `data` cannot stand beside the results, each reason once."""
    return list(dict.fromkeys(obstacle for result in results for obstacle in _obstacles_of(data, result)))


def _obstacles_of(data: Benchmark, result: Result) -> list[str]:
    lineage, obstacles = result.lineage, []
    if lineage.trained_on_manifest != lineage.manifest_fingerprint:
        obstacles.append("trained on another data set")
    if lineage.initial_weights_sha256 is not None:
        obstacles.append("fine-tuned from another run")
    published = {
        "queries": data.query,
        # An evaluation counts junk apart from the gallery.
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
    ablation = compared is not None and compared.title == paper.OCCLUDED_DUKE
    if len({result.model.backbone for result in results}) > 1:
        yield backbone_table(name, results, ablation=ablation)
        return
    by_row: dict[TableRow, list[Result]] = {}
    for result in results:
        by_row.setdefault(result.row, []).append(result)
    if data is not None:
        yield _methods(name, data, compared, by_row)
    # On the other benchmarks the paper has Table 2 alone: more is shown only where it was run.
    if data is None or data.title == paper.OCCLUDED_DUKE or len(by_row) > 1 or FULL_ROW not in by_row:
        yield _components(name, by_row, ablation)
        # The N of Table 3 alone compares nothing.
        if ablation or {(True, True, layers) for layers in paper.TABLE_4} & by_row.keys() - {FULL_ROW}:
            yield _layers(name, by_row, ablation)
        if ablation or FULL_ROW in by_row:
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
                    ours=measured(by_row.get(ours[method], [])) if method in ours else None,
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
            entries=(Entry(ours=measured(by_row.get(row, [])), published=published if ablation else None),),
        )
        for row, published in paper.TABLE_3.items()
    ]
    made = _table(3, "Components", name, ("P", "Intra", "Inter"), rows)
    return made.model_copy(update={"notes": tuple(step_notes(by_row, paper.TABLE_3))})


def _layers(name: str, by_row: Mapping[TableRow, Sequence[Result]], ablation: bool) -> Table:
    rows = [
        Row(
            head=(str(layers),),
            entries=(
                Entry(
                    ours=measured(by_row.get((True, True, layers), [])),
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
                    ours=measured([result for result in results if mode in result.confidence_modes], mode),
                    published=paper.TABLE_5[mode] if ablation else None,
                ),
            ),
        )
        for mode, label in MODES.items()
    ]
    made = _table(5, "Combination of confidence scores in matching", name, ("Combination",), rows)
    return made.model_copy(update={"notes": tuple(_evenly(results))})


def _evenly(results: Sequence[Result]) -> Iterable[str]:
    """Say what the row without confidences would show if its groups weighed no more than those of the others."""
    # Metrics of earlier versions do not have it.
    even = measured([result for result in results if "even" in result.confidence_modes], "even")
    if even is not None:
        scores = ", ".join(f"{name} {even.scores[name].mean:.2f}" for name in ("mAP", "rank-1"))
        yield (
            "Without confidence scores each of G groups weighs 1, with them all together at most 1. With 1/G each, "
            f"which leaves the balance with the global distance as it is: {scores}."
        )


def _table(number: int, caption: str, name: str, head: tuple[str, ...], rows: Sequence[Row]) -> Table:
    return Table(number=number, caption=caption, benchmarks=(name,), head=head, rows=tuple(rows), notes=())


def _notes(table: Table) -> list[str]:
    ours = [entry.ours for row in table.rows for entry in row.entries if entry.ours]
    notes = []
    if ours:
        seeds = sorted({len(m.seeds) for m in ours})
        epochs = sorted({m.epochs for m in ours})
        spread = "Mean ± standard deviation over" if seeds[-1] > 1 else "From"
        count = " to ".join(str(number) for number in sorted({seeds[0], seeds[-1]}))
        notes.append(f"{spread} {count} seed{'s' if count != '1' else ''}, {_either(epochs)} epochs of training.")
        # At the number itself too, as a mark: a copied number keeps it.
        if short := [many for many in epochs if many < paper.PAPER_EPOCHS]:
            notes.append(f"† {_either(short)} epochs, fewer than the paper's {paper.PAPER_EPOCHS}.")
        if seeds[0] < FEW_SEEDS:
            notes.append(f"‡ Fewer than {FEW_SEEDS} seeds: the order of such rows may be chance.")
    if any(entry.runnable and not entry.ours for row in table.rows for entry in row.entries):
        notes.append("– was not run.")
    if any(entry.published for row in table.rows for entry in row.entries):
        notes.append("Paper: as published (Pirt, ACM MM 2021), not run by us; Δ is ours minus the paper's.")
    return notes


def _either(numbers: Sequence[int]) -> str:
    return " or ".join(map(str, numbers))


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
        notes.append(f"No published numbers stand beside these: {'; '.join(obstacles)}.")
    elif compared:
        if unlike := _unlike(result.protocol.model_dump(), paper.MATCHING):
            notes.append(f"Not matched as in the paper: {'; '.join(unlike)}.")
        if {result.model.backbone for result in results}.isdisjoint({paper.BACKBONE}):
            notes.append(f"The published numbers of Pirt and its baseline are on the backbone {paper.BACKBONE}.")
    return notes


def _left_out(results: Sequence[Result]) -> list[str]:
    """Say which results stand in no table."""
    others = sorted({result.row for result in results} - paper.MODELS.keys())
    rows = ", ".join(row_label(row) for row in others)
    return [f"Measured and left out, being no row of the paper's tables: {rows}."] if others else []


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
