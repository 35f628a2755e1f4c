"""Each stage watches the code that can change its outputs, and none that cannot."""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pirt.backbone_table import BACKBONES
from pirt.core.params import read_yaml
from pirt.runs.params import ModelParams, TrainParams

ROOT = Path(__file__).parents[2]
SOURCES = (ROOT, ROOT / "stages")
PIPELINES = (
    ".",
    "pipelines/pretraining",
    "pipelines/rendered_study",
    "pipelines/market1501",
    "pipelines/dukemtmc_reid",
    "pipelines/occluded_duke",
    "pipelines/rendered_backbones",
    "pipelines/demo_curve",
    "pipelines/demo_readings",
    "pipelines/demo_seeds",
)
PROGRAMS = {
    "render": ("pirt_stages.data.pedestrians.synthesize", "pirt_stages.data.pedestrians.params"),
    "import": (
        "pirt_stages.data.importing.recipe",
        "pirt_stages.data.importing.occluded_duke",
        "pirt_stages.data.importing.params",
    ),
    "pose": ("pirt_stages.pose.training.train", "pirt_stages.pose.training.params"),
    "extract": ("pirt_stages.pose.extraction.extract", "pirt_stages.pose.extraction.identify"),
    "train": ("pirt.training.recipe",),
    "evaluate": ("pirt.ranking.recipe",),
    "figures": ("pirt.visual.figures",),
    "report": (
        "pirt_stages.report.tables",
        "pirt_stages.report.results",
        "pirt_stages.report.writing",
        "pirt_stages.report.params",
    ),
    "explore": ("pirt_stages.explore.recipe",),
    "where": ("pirt_stages.study.where",),
    "reference": ("pirt_stages.study.reference",),
    "curve": ("pirt_stages.study.curve",),
}
"""What a stage's command line hands the work to."""
NO_BYTES = {
    "pirt/__init__.py": "names of the library",
    "pirt/machine.py": "how many processes and how much shared memory fit, which changes no byte",
    "pirt/progress.py": "progress bars",
    "pirt/backbone_table.py": "where a backbone lies, which a pipeline that uses it watches",
    "pirt/losses/__init__.py": "finds the file that `train.metric_loss` names, which is watched",
    "stages/pirt_stages/__init__.py": "nothing",
    "stages/pirt_stages/data/__init__.py": "nothing",
    "stages/pirt_stages/pose/__init__.py": "nothing",
    "stages/pirt_stages/data/output.py": "which folders may be replaced",
}
STUDY = "stages/pirt_stages/study/"
SHARED = {
    "render": ("pirt/core/",),
    "import": ("pirt/core/",),
    "pose": ("pirt/core/",),
    "extract": ("pirt/core/",),
    "evaluate": ("pirt/core/",),
    "figures": ("pirt/core/", "pirt/ranking/", "pirt/runs/"),
    "report": ("pirt/core/", "pirt/ranking/", "pirt/runs/", "pirt/visual/"),
    "explore": ("pirt/core/",),
    "where": ("pirt/core/", "pirt/ranking/", "pirt/runs/", "pirt/visual/", "stages/pirt_stages/data/", STUDY),
    "curve": ("pirt/core/", "pirt/ranking/", "pirt/runs/", "pirt/training/", "pirt/visual/", STUDY),
    "reference": ("pirt/core/", "pirt/models/", "pirt/ranking/", "pirt/runs/", STUDY),
}
"""Rooms of which a stage needs a part; core is small, and the last five stages take seconds."""
OF_A_MODEL = ("pirt/models", "pirt/heatmaps")
READERS = ("pose", "extract", "train", "reference")
"""Stages whose inputs no other dependency fingerprints (see docs/decisions/lineage.md)."""
RUN_NO_MODEL = ("report", "where", "curve")
"""Tables read metrics.json, which says what the model was, and embeddings."""


BUILDING = ("train", "evaluate", "figures")
"""Stages that build a model, whose backbone its parameters name."""


@cache
def module_file(name: str) -> Path | None:
    found = (source.joinpath(*name.split(".")) for source in SOURCES)
    return next((f for path in found for f in (path.with_suffix(".py"), path / "__init__.py") if f.is_file()), None)


@cache
def imported(file: Path) -> tuple[Path, ...]:
    return tuple(_imported(file))


def _imported(file: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" for name in names] + [str(node.module)]
        for name in names:
            parts = name.split(".")
            # A module's packages are imported with it.
            yield from filter(None, (module_file(".".join(parts[:n])) for n in range(1, len(parts) + 1)))


def everything_behind(*modules: str) -> set[str]:
    ahead = [file for name in modules if (file := module_file(name))]
    assert len(ahead) == len(modules)
    found = set(ahead)
    while ahead:
        new = set(imported(ahead.pop())) - found
        found |= new
        ahead += new
    return {path.relative_to(ROOT).as_posix() for path in found}


def code_of(pipeline: str, stage: dict[str, Any]) -> list[Path]:
    deps = watches(pipeline, stage)
    return [path for path in deps if path.is_relative_to(ROOT / "pirt") or path.is_relative_to(ROOT / "stages")]


def watches(pipeline: str, stage: dict[str, Any]) -> list[Path]:
    return [home(pipeline, stage).joinpath(dep).resolve() for dep in stage["deps"]]


def home(pipeline: str, stage: dict[str, Any]) -> Path:
    """The folder that a stage runs in."""
    return ROOT.joinpath(pipeline, stage.get("wdir", "."))


def watched(code: list[Path]) -> set[str]:
    files = {file for path in code for file in ((path,) if path.is_file() else path.rglob("*.py"))}
    hidden = (ROOT / ".dvcignore").read_text().split()
    return {f.relative_to(ROOT).as_posix() for f in files if not any(fnmatch(f.name, name) for name in hidden)}


def chosen(pipeline: str, stage: str) -> set[str]:
    """The modules that the pipeline's parameters name for a stage."""
    table = read_yaml(home(pipeline, stages_of(pipeline)[stage]) / "params.yaml")
    models = [table["model"], *({**table["model"], **variant} for variant in table["variants"].values())]
    modules = {BACKBONES[model.get("backbone", ModelParams().backbone)] for model in models}
    if stage == "train":
        modules.add(f"pirt.losses.{table['train'].get('metric_loss', TrainParams().metric_loss)}")
    return modules if stage in BUILDING else set()


def stages_of(pipeline: str) -> dict[str, Any]:
    stages: dict[str, Any] = read_yaml(ROOT / pipeline / "dvc.yaml")["stages"]
    # A stage of `foreach` says under `do` what it does.
    return {name: stage.get("do", stage) for name, stage in stages.items() if name in PROGRAMS}


def behind(pipeline: str, name: str) -> set[str]:
    files = everything_behind(*PROGRAMS[name], *chosen(pipeline, name)) - set(NO_BYTES)
    if name in RUN_NO_MODEL:
        files = {file for file in files if not file.startswith(OF_A_MODEL)}
    return {file for file in files if not empty(file)}


@pytest.mark.parametrize(("pipeline", "name"), [(p, name) for p in PIPELINES for name in stages_of(p)])
def test_a_stage_watches_all_the_code_behind_it_and_no_other(pipeline: str, name: str) -> None:
    code = code_of(pipeline, stages_of(pipeline)[name])
    assert all(path.exists() for path in code)
    seen = {file for file in watched(code) if not empty(file)}
    assert behind(pipeline, name) - seen == set(), "not watched"
    in_vain = {file for file in seen - behind(pipeline, name) if not file.startswith(SHARED.get(name, ()))}
    assert in_vain == set(), "watched in vain"


@pytest.mark.parametrize(
    ("pipeline", "name"), [(p, name) for p in PIPELINES for name in stages_of(p) if name in READERS]
)
def test_a_stage_depends_on_the_files_that_it_reads(pipeline: str, name: str) -> None:
    stage = stages_of(pipeline)[name]
    read = re.findall(r"--(?:manifest|heatmaps|keypoints|config|checkpoint) (\S+)", stage["cmd"])
    files = {home(pipeline, stage).joinpath(path).resolve() for path in read}
    assert files
    assert files <= set(watches(pipeline, stage))


@pytest.mark.parametrize("name", BUILDING)
def test_a_backbones_file_is_to_be_watched_where_parameters_name_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "resnet18_ibn_a", "pirt.benchmarks")
    assert "pirt/benchmarks.py" in behind(".", name) - watched(code_of(".", stages_of(".")[name]))


@cache
def empty(file: str) -> bool:
    """A file of nothing but a docstring decides nothing."""
    return len(ast.parse((ROOT / file).read_text()).body) <= 1 and file.endswith("__init__.py")


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_a_stage_watches_six_pieces_of_code_at_most(pipeline: str) -> None:
    for name, stage in stages_of(pipeline).items():
        assert len({path for path in code_of(pipeline, stage) if path.parent != ROOT / "pirt/backbones"}) <= 6, name


@pytest.mark.parametrize("pipeline", PIPELINES[1:])
def test_the_pipelines_watch_the_same_code(pipeline: str) -> None:
    ours, default = stages_of(pipeline), stages_of(".")
    files = {ROOT / "pirt/backbones" / name for name in ("blocks.py", "swin.py", "vit.py")}
    of_backbones = files if pipeline == "pipelines/rendered_backbones" else set()
    for name in ours.keys() & default.keys():
        code, more = code_of(".", default[name]), of_backbones if name in BUILDING else set()
        assert set(code_of(pipeline, ours[name])) == {*code, *more}, name


def test_the_papers_report_watches_what_a_report_watches() -> None:
    paper = read_yaml(ROOT / "pipelines/paper/dvc.yaml")["stages"]["report"]
    assert code_of("pipelines/paper", paper) == code_of(".", stages_of(".")["report"])
