"""The study of rendered people and the demo's seeds, with programs that do nothing but write their outputs."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML
from stubs import copy_with_stubs, dvc, lose_what_git_lacks, ran

from pirt.core.params import read_yaml
from pirt.runs.params import load_params

PIPELINES = Path(__file__).parents[2] / "pipelines"
STUDY, DEMO = PIPELINES / "rendered_study/params.yaml", PIPELINES.parent / "params.yaml"
CURVE = PIPELINES / "demo_curve/params.yaml"
ALWAYS = {"weights", "pose-weights"}


def few(path: Path, *variants: str) -> None:
    yaml = YAML()
    table = yaml.load(path)
    table["variants"] = {name: table["variants"][name] for name in variants}
    yaml.dump(table, path)


def test_the_rows_of_the_study_are_the_demos_and_share_its_sizes() -> None:
    study, demo = read_yaml(STUDY), read_yaml(DEMO)
    assert study["model"] == demo["model"]
    assert {name: study["variants"][name] for name in demo["variants"]} == demo["variants"]
    scratch = [name for name in study["variants"] if load_params(STUDY, name).train.backbone_weights is None]
    assert scratch == [f"{row}-scratch" for row in ("baseline", "parts", "intra", "pirt", "intra-one")]
    readings = {load_params(STUDY, name).model.intra_mask for name in study["variants"]}
    assert readings == {"raw", "one"}


def test_a_reading_differs_from_the_demo_in_c_or_the_sampler_alone() -> None:
    readings = PIPELINES / "demo_readings/params.yaml"
    for name in read_yaml(readings)["variants"]:
        row, reading = name.split("-")
        ours, demos = load_params(readings, name), load_params(DEMO, row)
        assert (ours.model.intra_mask, ours.train.sampler) in {(reading, "images"), ("raw", reading)}
        assert ours.model.model_copy(update={"intra_mask": demos.model.intra_mask}) == demos.model
        assert Path(str(ours.train.backbone_weights)).name == Path(str(demos.train.backbone_weights)).name
        start = {"backbone_weights": demos.train.backbone_weights, "sampler": demos.train.sampler}
        assert ours.train.model_copy(update=start) == demos.train
    assert read_yaml(readings)["evaluate"] == read_yaml(DEMO)["evaluate"]


def test_every_report_of_the_study_is_of_one_setting_and_every_variant_stands_in_one() -> None:
    settings = read_yaml(PIPELINES / "rendered_study/dvc.yaml")["stages"]["report"]["foreach"]
    reports = {key: [word for word in words.split() if word != "--variant"] for key, words in settings.items()}
    assert {name for names in reports.values() for name in names} == set(read_yaml(STUDY)["variants"])
    for names in reports.values():
        params = [load_params(STUDY, name) for name in names]
        assert len({one.train.backbone_weights for one in params}) == 1
        # Rows that do not multiply by C may stand beside any reading of it.
        assert len({one.model.intra_mask for one in params if one.model.intra}) == 1


def test_the_curve_is_of_the_demos_rows_and_recipe() -> None:
    rows, lengths = ("baseline", "parts", "intra", "pirt"), (2, 4, 8, 16, 32)
    names = list(read_yaml(CURVE)["variants"])
    assert names == [f"{row}-{epochs}" for row in rows for epochs in lengths]
    for name in names:
        row, epochs = name.split("-")
        ours, demo = load_params(CURVE, name), load_params(DEMO, row)
        assert ours.model == demo.model
        weights = (PIPELINES / "demo_curve" / str(ours.train.backbone_weights)).resolve()
        assert weights == (PIPELINES.parent / str(demo.train.backbone_weights)).resolve()
        assert (ours.train.epochs, 2 * ours.train.cosine_from_epoch) == (int(epochs), int(epochs))
        same = {"backbone_weights", "epochs", "cosine_from_epoch"}
        assert ours.train.model_dump(exclude=same) == demo.train.model_dump(exclude=same)


@pytest.mark.slow
def test_the_study_runs_once(tmp_path: Path) -> None:
    folder = copy_with_stubs(tmp_path, "pipelines/rendered_study") / "pipelines/rendered_study"
    few(folder / "params.yaml", "pirt", "pirt-scratch")
    reports = {f"report@{name}" for name in ("pretrained", "scratch", "one-scratch")}
    rows = {f"{variant}-{seed}" for variant in ("pirt", "pirt-scratch") for seed in range(3)}
    runs = {f"{stage}@{row}" for stage in ("train", "evaluate") for row in rows}
    depths = {f"depth@pirt-{seed}-{n}" for seed in range(3) for n in (10, 50, 20000)}
    first = ran(dvc(folder, "repro"))
    assert first == ALWAYS | {"render", "import", "pose", "extract"} | runs | depths | reports | {"where", "reference"}
    assert ran(dvc(folder, "repro")) == ALWAYS
    lose_what_git_lacks(tmp_path)
    assert ran(dvc(folder, "repro", "--allow-missing")) == ALWAYS


@pytest.mark.slow
def test_the_demos_seeds_take_its_images_and_heatmaps(tmp_path: Path) -> None:
    folder = copy_with_stubs(tmp_path, "dvc.yaml", "params.yaml", "pipelines/demo_seeds")
    few(folder / "params.yaml", "pirt")
    demo = {"render", "import", "pose", "extract"}
    runs = {f"{stage}@pirt-{seed}" for stage in ("train", "evaluate") for seed in range(3)}  # 0 is the demo's own
    assert ran(dvc(folder, "repro", "pipelines/demo_seeds/dvc.yaml")) == ALWAYS | demo | runs | {"report", "where"}
    assert (folder / "pipelines/demo_seeds/runs/evaluate/pirt-seed2/metrics.json").is_file()
    assert ran(dvc(folder, "repro", "pipelines/demo_seeds/dvc.yaml")) == ALWAYS
    lose_what_git_lacks(folder)
    assert ran(dvc(folder, "repro", "--allow-missing", "pipelines/demo_seeds/dvc.yaml")) == ALWAYS
