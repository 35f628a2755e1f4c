"""The benchmarks run by hand alone; that what they import is still there is noticed here."""

import runpy
from pathlib import Path

import pytest

pytest.importorskip("mmpose", reason="half of them measure stage 1")

BENCHMARKS = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("program", BENCHMARKS, ids=lambda path: path.stem)
def test_a_benchmark_loads(program: Path) -> None:
    assert callable(runpy.run_path(str(program), run_name="not main")["main"])
