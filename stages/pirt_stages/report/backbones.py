"""The table of several backbones, which the paper does not have: how much pose guidance adds to each."""

from collections.abc import Iterable, Sequence

from pirt.visual.rows import BASELINE_ROW, row_label
from pirt_stages.report import paper
from pirt_stages.report.formats import PRINTED, signed
from pirt_stages.report.measured import Measured, measured
from pirt_stages.report.results import Result
from pirt_stages.report.schema import Entry, Row, Table
from pirt_stages.report.steps import step_notes


def backbone_table(name: str, results: Sequence[Result], *, ablation: bool) -> Table:
    """Return Table 6: the models that were evaluated on any backbone, a row for each backbone and model.

    With `ablation` the paper's numbers stand beside the rows of its own backbone.
    """
    backbones = sorted({result.model.backbone for result in results})
    models = sorted({result.row for result in results if result.row in paper.MODELS})
    runs = {
        backbone: {row: [r for r in results if (r.model.backbone, r.row) == (backbone, row)] for row in models}
        for backbone in backbones
    }
    found = {(backbone, row): measured(runs[backbone][row]) for backbone in backbones for row in models}
    published = {(paper.BACKBONE, row): numbers for row, numbers in paper.MODELS.items()} if ablation else {}
    # Keys are in the order of the dictionary above: by backbone, then from the baseline up.
    rows = tuple(
        Row(head=(key[0], row_label(key[1])), entries=(Entry(ours=ours, published=published.get(key)),))
        for key, ours in found.items()
    )
    added = [
        f"{backbone}: {text}"
        for backbone in backbones
        for text in (
            *_added(found[backbone, models[-1]], found.get((backbone, BASELINE_ROW)), row_label(models[-1])),
            *step_notes(runs[backbone], sorted({BASELINE_ROW, models[-1]})),
        )
    ]
    alike = "The rows of a backbone share one recipe, which another may not have; the lineage says which."
    return Table(
        number=6,
        caption="Backbones",
        benchmarks=(name,),
        head=("Backbone", "Model"),
        rows=rows,
        notes=(*added, alike, "The paper has no such table."),
    )


def _added(full: Measured | None, baseline: Measured | None, label: str) -> Iterable[str]:
    """Say what the fullest model has over the baseline, as printed."""
    if full is None or baseline is None or full == baseline:
        return
    # Of the rounded numbers, so that readers who subtract get the same.
    differences = (
        f"{signed(round(full.scores[name].mean, 2) - round(baseline.scores[name].mean, 2))} {printed}"
        for name, printed in PRINTED.items()
    )
    yield f"{', '.join(differences)} from baseline to {label}."
