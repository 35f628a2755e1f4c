"""What DVC re-runs when a file or a parameter changes; each stage on its own, with programs that do nothing."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML
from stubs import copy_with_stubs, dvc, lose_what_git_lacks, ran

STAGES = {"render", "import", "pose", "extract", "train", "evaluate", "figures", "report", "explore"}
STAGES |= {"where", "reference"}
PROGRAMS = "stages/pirt_stages"
CODE: dict[str, set[str]] = {
    # Other identities of the same images leave the store as it is, but not the training.
    "runs/manifest.csv": {"import", "pose", "extract", "train", "reference"},
    "pirt/core/manifest.py": STAGES,
    "pirt/heatmaps/codec.py": {"extract", "train", "evaluate", "figures", "explore", "reference"},
    "pirt/heatmaps/reader.py": {"extract", "train", "evaluate", "figures", "explore", "reference"},
    "pirt/models/part_groups.py": {"train", "evaluate", "figures", "explore", "reference"},
    "pirt/models/a_new_file.py": {"train", "evaluate", "figures", "explore", "reference"},
    "pirt/backbones/a_new_file.py": set(),
    "pirt/losses/triplet.py": {"train"},
    "pirt/losses/a_new_file.py": set(),
    "pirt/training/sampler.py": {"train"},
    "pirt/runs/cache.py": {"train", "evaluate", "figures", "explore", "report", "where", "reference"},
    "pirt/ranking/metrics.py": {"evaluate", "figures", "explore", "report", "where", "reference"},
    "pirt/visual/rank_list.py": {"figures", "report", "where"},
    "pirt/benchmarks.py": {"report"},
    "pirt/progress.py": set(),
    "pirt/summary.py": set(),
    f"{PROGRAMS}/command.py": set(),
    f"{PROGRAMS}/data/pedestrians/shot.py": {"render", "where"},
    f"{PROGRAMS}/data/importing/layouts/market.py": {"import"},
    f"{PROGRAMS}/data/check.py": set(),
    f"{PROGRAMS}/data/cli.py": set(),
    f"{PROGRAMS}/pose/networks/network.py": {"pose", "extract"},
    f"{PROGRAMS}/pose/training/augment.py": {"pose"},
    f"{PROGRAMS}/pose/extraction/geometry.py": {"extract"},
    f"{PROGRAMS}/pose/stores/show.py": set(),
    f"{PROGRAMS}/pose/cluster.py": set(),
    f"{PROGRAMS}/pose/cli.py": set(),
    f"{PROGRAMS}/train/cli.py": set(),
    f"{PROGRAMS}/train/console.py": set(),
    f"{PROGRAMS}/train/curves.py": set(),
    f"{PROGRAMS}/evaluate/summary.py": set(),
    f"{PROGRAMS}/search/recipe.py": set(),
    f"{PROGRAMS}/explore/retrieval.py": {"explore"},
    f"{PROGRAMS}/explore/assets/query.js": {"explore"},
    f"{PROGRAMS}/report/tables.py": {"report"},
    f"{PROGRAMS}/report/paper.py": {"report"},
    f"{PROGRAMS}/report/cli.py": set(),
    f"{PROGRAMS}/study/writing.py": {"where", "reference"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default pipeline after a `dvc repro`, with one variant."""
    folder = copy_with_stubs(tmp_path_factory.mktemp("default"), "dvc.yaml", "params.yaml")
    set_params(folder / "params.yaml", variants={"pirt": {"inter_layers": 3}})
    assert ran(dvc(folder, "repro")) >= STAGES - {"train", "evaluate"}
    return folder


def set_params(path: Path, **sections: dict[str, object]) -> None:
    yaml = YAML()
    table = yaml.load(path)
    for name, section in sections.items():
        table[name] = section if name == "variants" else {**table.get(name, {}), **section}
    yaml.dump(table, path)


def changed_stages(folder: Path) -> set[str]:
    """What the next `dvc repro` would run, but for what follows from it and for what always runs."""
    with Repo(str(folder)) as repo:
        found: dict[str, list[object]] = repo.status()
    return {name.rpartition(":")[2].partition("@")[0] for name, why in found.items() if why != ["always changed"]}


@pytest.fixture
def touched(made: Path, file: str) -> Iterator[Path]:
    path = made / file
    before = path.read_bytes() if path.exists() else None
    path.write_bytes((before or b"") + b"\n# a change\n")
    yield made
    if before is None:
        path.unlink()
    else:
        path.write_bytes(before)


def test_nothing_is_to_be_done_twice(made: Path) -> None:
    assert changed_stages(made) == set()


def test_a_fresh_clone_has_nothing_to_run(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "clone"))
    lose_what_git_lacks(folder)
    assert (folder / "runs/evaluate/pirt-seed0/metrics.json").is_file()
    assert not (folder / "runs/embeddings").exists()
    assert ran(dvc(folder, "repro", "--allow-missing")) == {"weights", "pose-weights"}


# The others, which test_dependencies.py finds too, by following imports.
IN_A_HURRY = ("pirt/models/part_groups.py", "pirt/heatmaps/reader.py", f"{PROGRAMS}/train/cli.py", "pirt/benchmarks.py")


@pytest.mark.parametrize(
    ("file", "expected"),
    [pytest.param(*kind, marks=() if kind[0] in IN_A_HURRY else pytest.mark.slow) for kind in CODE.items()],
)
def test_a_change_of_code_re_runs_the_stages_whose_bytes_it_may_change(touched: Path, expected: set[str]) -> None:
    assert changed_stages(touched) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameter", "expected"),
    [
        ("checkpoint.pth", ("pose", "checkpoint"), {"network", "extract"}),
        ("config.py", ("pose", "config"), {"network", "extract"}),
        ("backbone.pth", ("train", "backbone_weights"), {"weights", "train@pirt-0"}),
    ],
)
def test_weights_and_configs_replaced_in_place_re_run_what_they_feed(
    tmp_path: Path, name: str, parameter: tuple[str, str], expected: set[str]
) -> None:
    folder = copy_with_stubs(tmp_path, "pipelines/market1501") / "pipelines/market1501"
    yaml = YAML()
    table = yaml.load(folder / "params.yaml")
    table["seeds"] = [0]
    section, leaf = parameter
    (table[section]["extract"] if section == "pose" else table[section])[leaf] = f"local weights/{name}"
    yaml.dump(table, folder / "params.yaml")
    (folder / "local weights").mkdir()
    (folder / "local weights" / name).write_text("first")
    dvc(folder, "repro")
    always = {"import", "network", "weights"}
    assert ran(dvc(folder, "repro")) == always
    (folder / "local weights" / name).write_text("second")
    assert ran(dvc(folder, "repro")) == always | expected


@pytest.mark.slow
def test_weights_that_the_pose_network_starts_from_replaced_in_place_re_run_it(tmp_path: Path) -> None:
    folder = copy_with_stubs(tmp_path, "dvc.yaml", "params.yaml")
    (folder / "local").mkdir()
    start = folder / "local/start.pth"
    start.write_text("first")
    train = {"epochs": 1, "init_from": "local/start.pth"}
    set_params(folder / "params.yaml", pose={"train": train}, variants={"pirt": {}})
    dvc(folder, "repro")
    assert ran(dvc(folder, "repro")) == {"weights", "pose-weights"}
    start.write_text("second")
    assert ran(dvc(folder, "repro")) == {"weights", "pose-weights", "pose"}


def test_a_new_variant_retrains_no_other(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "copy"))
    (folder / "other.pth").write_text("other")
    variants = {"pirt": {"inter_layers": 3}, "new": {"train": {"backbone_weights": "other.pth"}}}
    set_params(folder / "params.yaml", variants=variants)
    expected = {"weights", "pose-weights", "train@new-0", "evaluate@new-0"}
    assert ran(dvc(folder, "repro", "evaluate")) == expected


@pytest.mark.slow
def test_no_parameter_runs_a_second_command(tmp_path: Path) -> None:
    folder = copy_with_stubs(tmp_path, "dvc.yaml", "params.yaml")
    hostile = "x; touch pwned #"
    quoted = "x'; touch pwned; echo '$(touch pwned)"
    set_params(folder / "params.yaml", data={"profile": hostile}, variants={quoted: {}, hostile: {}})
    said = dvc(folder, "repro")
    assert "Running stage 'pose'" in said
    assert not list(folder.rglob("pwned"))
    assert (folder / f"runs/evaluate/{quoted}-seed0/metrics.json").exists()


@pytest.mark.slow
def test_other_data_are_noticed(tmp_path: Path) -> None:
    folder = copy_with_stubs(tmp_path, "pipelines/market1501") / "pipelines/market1501"
    dvc(folder, "repro", "extract")
    set_params(folder / "params.yaml", data={"source": "elsewhere"})
    assert ran(dvc(folder, "repro", "extract")) == {"import", "network"}
