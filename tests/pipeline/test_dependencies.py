"""What a stage's code imports is what DVC watches, so that a change of either re-runs it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from pirt.params import read_yaml

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "pose": "stages/pose/train.py",
    "extract": "stages/pose/extract.py",
    "train": "stages/train/recipe.py",
    "evaluate": "stages/evaluate/recipe.py",
    "report": "stages/report/cli.py",
}
NO_BYTES = {
    "pirt/errors.py": "messages",
    "pirt/files.py": "where outputs go",
    "stages/command.py": "messages",
    "stages/pose/cluster.py": "the bytes of a local run",
    "pirt/params.py": "stage 1 takes a base class; stage 2 watches it",
    "pirt/data/manifest.py": "the manifest that it reads and writes is watched",
}
WATCHES_ONLY = ("pirt/evaluation.py", "pirt/matching.py", "pirt/metrics.py", "pirt/rerank.py")
"""They say how a training goes on; its weights do not depend on them, and what `evaluate` says is watched there."""


def module_file(name: str) -> Path | None:
    path = ROOT.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def imported(file: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" for name in names] + [str(node.module)]
        yield from filter(None, map(module_file, names))


def everything_behind(file: Path) -> set[str]:
    found, ahead = {file}, [file]
    while ahead:
        new = set(imported(ahead.pop())) - found
        found |= new
        ahead += new
    return {path.relative_to(ROOT).as_posix() for path in found if path.name != "__init__.py"}


@pytest.mark.parametrize(
    "pipeline", [".", *(f"pipelines/{n}" for n in ("market1501", "dukemtmc_reid", "occluded_duke"))]
)
def test_no_code_behind_a_stage_is_unwatched(pipeline: str) -> None:
    stages = read_yaml(ROOT / pipeline / "dvc.yaml")["stages"]
    watched: set[str] = set()
    for name in (name for name in stages if name in PROGRAMS):
        if name == "evaluate":
            # Code that only an evaluation runs leaves the weights as they were, and what comes after them.
            watched = set()
        code = [ROOT.joinpath(pipeline, dep).resolve() for dep in stages[name]["deps"] if "runs/" not in dep]
        assert all(path.exists() for path in code)
        watched |= {file.relative_to(ROOT).as_posix() for path in code for file in (path, *path.rglob("*.py"))}
        exempt = {*NO_BYTES, *(WATCHES_ONLY if name == "train" else ())}
        # What an earlier stage watches re-makes its outputs, and these are watched.
        assert everything_behind(ROOT / PROGRAMS[name]) - watched - exempt == set(), name
