"""What each row adds to the row before it, and how far that can be trusted."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from pirt.ranking.intervals import Floats, Interval, bootstrap
from pirt.ranking.results import PerQuery
from pirt.visual.rows import TableRow, row_label
from pirt_stages.report.formats import signed
from pirt_stages.report.results import Result


def step(before: Sequence[Result], after: Sequence[Result]) -> Interval | None:
    """Return the gain in average precision from `before` to `after`, runs of a row each, with its interval.

    Paired: for each query the difference of its means over the seeds. None where a run does not record its queries.
    """
    told = [result.per_query for result in (*before, *after)]
    # Queries are matched by their places, so they must be the same ones in the same order.
    if not before or not after or any(one is None or one.pids != getattr(told[0], "pids", None) for one in told):
        return None
    known: list[PerQuery] = [one for one in told if one is not None]
    # Paired by query: what makes a query hard is in both, and cancels.
    gain = _mean(known[len(before) :]) - _mean(known[: len(before)])
    return bootstrap(gain, np.array(known[0].pids))


def _mean(runs: Sequence[PerQuery]) -> Floats:
    """Average each query's precision over the runs: one value a query."""
    precisions: Floats = np.array([run.average_precisions for run in runs], np.float64).mean(axis=0)
    return precisions


def step_notes(by_row: Mapping[TableRow, Sequence[Result]], rows: Iterable[TableRow]) -> Iterable[str]:
    """Say what each of `rows` that was run adds to the one before it, and what all of them add together."""
    found_rows = [row for row in rows if by_row.get(row)]
    # With two rows the one step is the whole.
    whole = [(found_rows[0], found_rows[-1])] if len(found_rows) > 2 else []
    for one, other in [*pairwise(found_rows), *whole]:
        found = step(by_row[one], by_row[other])
        if found is not None and found.low is not None and found.high is not None:
            low, high = signed(100 * found.low), signed(100 * found.high)
            yield (
                f"From {row_label(one)} to {row_label(other)}: {signed(100 * found.mean)} mAP, 95 % interval {low} to "
                f"{high} (paired bootstrap over the queries' persons, seeds averaged)."
            )
