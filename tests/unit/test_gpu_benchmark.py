"""What `benchmarks/gpu.py` does with what only a GPU gives it."""

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner


@pytest.fixture
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name == "gpu" or name.startswith("gpu_parts"):
            del sys.modules[name]


@pytest.mark.usefixtures("_benchmarks")
def test_a_part_that_fails_keeps_its_lines_and_the_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu

    def breaks(*_: Any) -> Iterator[str]:
        """What breaks."""
        yield "its first line"
        raise RuntimeError("no such kernel")

    def runs(*_: Any) -> Iterator[str]:
        """What runs."""
        yield "the other's line"

    monkeypatch.setattr(gpu, "PARTS", {"floors": breaks, "steps": runs})
    done = CliRunner().invoke(gpu.main, ["--device", "cpu", "--tiny", "floors", "steps"])
    assert done.exit_code == 1
    told = [
        done.output.index(text) for text in ("its first line", "no such kernel", "the other's line", "failed: floors")
    ]
    assert told == sorted(told)


@pytest.mark.usefixtures("_benchmarks")
def test_operations_without_a_repeatable_version_are_named() -> None:
    from gpu_parts.steps import warned_of

    def step() -> None:
        for said in (
            "Flash Attention defaults to a non-deterministic algorithm. To explicitly enable determinism call",
            "max_pool3d_with_indices_backward_cuda does not have a deterministic implementation, but you set",
            "this operation is not deterministic because it uses CuBLAS and you have CUDA >= 10.2",
            "something else",
        ):
            warnings.warn(said, stacklevel=1)

    assert warned_of(step) == {"Flash Attention", "max_pool3d_with_indices_backward_cuda", "cuBLAS"}


@pytest.mark.usefixtures("_benchmarks")
def test_idle_time_is_what_no_kernel_covers(tmp_path: Path) -> None:
    from gpu_parts.trainings import idle_share

    def share(*spans: tuple[float, float]) -> str:
        events = [{"ph": "X", "cat": "kernel", "ts": start, "dur": end - start} for start, end in spans]
        (tmp_path / "trace.json").write_text(json.dumps({"traceEvents": events}))
        return idle_share(tmp_path / "trace.json", frozenset({"kernel"}))

    assert share((0, 4), (2, 5), (8, 10)) == "30.0%"
    assert share() == "–"


@pytest.mark.usefixtures("_benchmarks")
def test_a_steps_work_is_three_forward_passes() -> None:
    from gpu_parts.floors import work_of_a_step
    from gpu_parts.machine import TINY

    from pirt.runs.run import build_model
    from pirt.summary import summarise

    train, work = TINY.params.train, work_of_a_step(TINY)
    forward = summarise(build_model(TINY.classes, TINY.params), train.image_size, (16, 8))[-1].flops
    # But for the first layer, which hands no gradient on.
    assert work.flops == pytest.approx(3 * forward * train.identities * train.instances, rel=0.1)
    # What only moves takes its time by the copy's rate, and nothing takes less than by either.
    assert work.seconds(float("inf"), 1.0, 4) == pytest.approx(work.bytes(4))
    assert work.seconds(1.0, 1.0, 4) > max(work.flops, work.bytes(4))
