"""The parameters of the tables."""

from pathlib import Path

from pirt.core.params import Frozen, checked, mapping, read_sections


class ReportParams(Frozen):
    """The section `report` of a pipeline."""

    benchmark: str | None = None
    """Name for the titles; the paper's benchmarks are recognised."""
    stand_in: bool = False
    """Whether the images only stand in for the benchmark's, where `pirt-data standin` did not make them."""
    compare: tuple[str, ...] = ()
    """Variants that the explorer shows side by side, in this order; all of them if it is empty."""


def load_report_params(path: Path) -> ReportParams:
    """Read the section `report` of a parameter file."""
    where = f"{path}, section report"
    return checked(ReportParams, mapping(read_sections(path).get("report"), where), where)
