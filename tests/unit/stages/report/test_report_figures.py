import shutil
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import matplotlib as mpl
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from tiny_runs import write_run
from tiny_stores import write_store

from pirt.core.errors import ReportError, StoreError
from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.manifest import ImageRow, Manifest, Split, write_manifest
from pirt.models import Pirt
from pirt.models.part_groups import named_groups
from pirt.ranking.embeddings import EmbeddingsLineage, write_embeddings
from pirt.ranking.params import EvaluateParams
from pirt.ranking.recipe import evaluate_embeddings
from pirt.runs.cache import load_heatmaps, store_for
from pirt.runs.dataset import PersonDataset
from pirt.runs.params import ModelParams, TrainParams
from pirt.runs.run import read_record
from pirt.runs.transforms import EvalTransform
from pirt.visual.curves import Curve, draw_curves, read_curves
from pirt.visual.data_summary import read_summary
from pirt.visual.figures import find_sources, write_figures
from pirt.visual.people import choose_pairs, draw_activations, draw_heatmaps
from pirt.visual.rows import BASELINE_ROW, FULL_ROW
from pirt.visual.style import GREEN, save
from pirt_stages.report.cli import main

SIZE, GRID = (64, 32), (16, 8)
TINY = {"backbone": "resnet18_ibn_a", "width": 2, "strides": (1, 2, 2, 1), "bottleneck": 8, "intra_heads": 2}
TINY |= {"inter_heads": 2, "feedforward": 8, "confidence_hidden": 4}
LEFT_KNEE = COCO_KEYPOINTS.index("left_knee")


def row(split: Split, pid: int, camid: int) -> ImageRow:
    name = f"{split}/{pid}_{camid}.png"
    return ImageRow(name, name, split, pid, camid, "0" * 64)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Eight persons, each with a query and gallery images of the same and of another camera."""
    folder = tmp_path_factory.mktemp("data")
    rows = [row("query", pid, 1) for pid in range(1, 9)]
    rows += [row("gallery", pid, camid) for pid in range(1, 9) for camid in (1, 2)]
    for number, one in enumerate(rows):
        path = folder / one.path
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (*SIZE, 3), np.uint8)
        Image.fromarray(pixels).save(path)
    return write_manifest(folder / "manifest.csv", rows, folder)


@pytest.fixture(scope="module")
def store(manifest: Manifest) -> Path:
    """Heatmaps with one peak: the left knee in the lower right quarter."""

    def values(count: int) -> NDArray[np.float32]:
        heatmaps = np.zeros((count, len(COCO_KEYPOINTS), *GRID), np.float32)
        heatmaps[:, LEFT_KNEE, 11:14, 5:8] = 1
        return heatmaps

    return write_store(manifest.root / "heatmaps.zarr", manifest, (SIZE, GRID), values)


@pytest.fixture(scope="module")
def dataset(manifest: Manifest, store: Path) -> PersonDataset:
    rows = choose_pairs(manifest, 3)
    return PersonDataset(manifest, rows, load_heatmaps(store_for(store, manifest), rows), EvalTransform(SIZE))


def make_run(folder: Path, manifest: Manifest, seed: int, values: Sequence[float], **row: object) -> None:
    model = ModelParams.model_validate({**TINY, **row})
    write_run(
        folder, model, TrainParams(image_size=SIZE), GRID, num_classes=3, variant=None, seed=seed, manifest=manifest
    )
    plots = folder / "logs/plots/metrics/loss"
    plots.mkdir(parents=True)
    lines = [f"{step}\t{value}" for step, value in enumerate(values, 1)]
    (plots / "total.tsv").write_text("\n".join(["step\ttotal", *lines]) + "\n")


@pytest.fixture(scope="module")
def runs(manifest: Manifest) -> Path:
    folder = manifest.root / "runs"
    make_run(folder / "baseline-0", manifest, 0, [3, 2], parts=False, intra=False, inter_layers=0)
    make_run(folder / "pirt-0", manifest, 0, [5, 3])
    make_run(folder / "pirt-1", manifest, 1, [7, 4])
    return folder


def pictures(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def test_pairs_are_different_persons_each_seen_by_two_cameras(manifest: Manifest) -> None:
    rows = choose_pairs(manifest, 3)
    assert [(one.split, one.camid) for one in rows] == [("query", 1), ("gallery", 2)] * 3
    assert [one.pid for one in rows] == [1, 1, 3, 3, 5, 5]


def test_the_first_query_with_a_match_is_taken_with_its_first() -> None:
    number = np.random.default_rng(3).integers
    rows = [row("query" if number(3) == 0 else "gallery", int(number(-1, 9)), int(number(3))) for _ in range(120)]
    expected = []
    for pid in range(1, 9):
        queries = [one for one in rows if (one.split, one.pid) == ("query", pid)]
        pairs = [(one, two) for one in queries for two in rows if two.split == "gallery" and two.pid == pid
                 and two.camid != one.camid]  # fmt: skip
        expected += pairs[0]
    assert choose_pairs(Manifest(tuple(rows), Path()), 8) == expected


def test_no_pair_is_an_error() -> None:
    lonely = Manifest((row("query", 1, 1), row("gallery", 1, 1)), Path())
    with pytest.raises(ReportError, match="by another camera"):
        choose_pairs(lonely, 3)


def test_heatmaps_tint_the_image_in_their_groups_colour(dataset: PersonDataset) -> None:
    tinted = pictures(draw_heatmaps(dataset, named_groups("paper")))[6]
    np.testing.assert_allclose(tinted[50, 26], to_rgb(GREEN), atol=0.01)
    np.testing.assert_allclose(tinted[5, 5], tinted[5, 5].mean(), atol=1e-6)


def test_every_group_has_a_colour_and_a_name_of_its_own(dataset: PersonDataset) -> None:
    groups = {"head": [0], "arms": [9, 10], "knee": ["left_knee"], "feet": [15, 16], **{f"k{n}": [n] for n in range(9)}}
    for count in (2, 4, 13):
        figure = draw_heatmaps(dataset, named_groups(dict(list(groups.items())[:count])))
        patches = figure.legends[0].get_patches()
        assert [text.get_text() for text in figure.legends[0].get_texts()] == list(groups)[:count]
        assert len({patch.get_facecolor() for patch in patches}) == count
        knee = pictures(figure)[6][50, 26]
        if count > 2:
            np.testing.assert_allclose(knee, patches[2].get_facecolor()[:3], atol=0.01)
        else:
            assert np.ptp(knee) < 1e-6, "the left knee is in no group"


class PeakAtTheTopLeft:
    def intra_features(self, images: torch.Tensor, heatmaps: torch.Tensor) -> torch.Tensor:
        features = torch.zeros(len(images), 2, 4, 2)
        features[:, :, 0, 0] = 5
        return features


def test_activations_are_brightest_where_the_features_are_highest(dataset: PersonDataset) -> None:
    shown = pictures(draw_activations(cast(Pirt, PeakAtTheTopLeft()), dataset))
    gained = shown[6] - 0.4 * shown[0]
    brightness = gained.sum(axis=2)
    assert brightness[:8, :8].min() > 2 * brightness[32:, 16:].max()


def test_a_model_without_any_activation_is_drawn_dark(dataset: PersonDataset) -> None:
    class Dead:
        def intra_features(self, images: torch.Tensor, heatmaps: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(images), 2, 4, 2)

    shown = pictures(draw_activations(cast(Pirt, Dead()), dataset))
    lowest = np.array(mpl.colormaps["inferno"](0.0)[:3])
    np.testing.assert_allclose(shown[6], 0.4 * shown[0] + 0.6 * lowest, atol=1e-6)


def test_curves_are_read_by_row_and_drawn_as_mean_over_seeds(runs: Path) -> None:
    curves = read_curves([(run, read_record(run)) for run in sorted(runs.iterdir())])
    assert curves["loss/total"][BASELINE_ROW] == [Curve((1, 2), (3, 2))]
    assert len(curves["loss/total"][FULL_ROW]) == 2
    [panel] = draw_curves(curves).axes
    drawn = {str(line.get_label()): line.get_ydata() for line in panel.get_lines()}
    np.testing.assert_allclose(np.asarray(drawn["+ P + Intra + Inter"]), [6, 3.5])
    np.testing.assert_allclose(np.asarray(drawn["baseline"]), [3, 2])


def test_a_broken_curve_is_named(manifest: Manifest, tmp_path: Path) -> None:
    make_run(tmp_path / "run", manifest, 0, [1])
    path = tmp_path / "run/logs/plots/metrics/loss/total.tsv"
    path.write_text("step\ttotal\n1\toops\n")
    with pytest.raises(ReportError, match=r"total\.tsv is not a curve"):
        read_curves([(tmp_path / "run", read_record(tmp_path / "run"))])


def test_the_best_weights_of_a_run_are_no_run(manifest: Manifest, tmp_path: Path) -> None:
    for name in ("a", "a/best", "b.resume/best", "c/best", "best"):
        make_run(tmp_path / name, manifest, 0, [1])
    (tmp_path / "c/logs").mkdir()
    found = find_sources(tmp_path, (), manifest, Path(), None).runs
    assert [folder.relative_to(tmp_path).as_posix() for folder, _ in found] == ["a", "best"]


def chunks(path: Path) -> set[str]:
    content, at, found = path.read_bytes(), 8, set()
    while at < len(content):
        size, name = struct.unpack(">I4s", content[at : at + 8])
        found.add(name.decode())
        at += size + 12
    return found


def draw(
    tmp_path: Path, manifest: Manifest, store: Path, runs: Path, write_metrics: object, name: str, *more: object
) -> Path:
    out = tmp_path / name
    folder = write_metrics("pirt", 0, 0.5) if callable(write_metrics) else Path()
    commands = [
        ["tables", "--benchmark", "mine", "--metrics", folder, "--out", out],
        [
            "figures",
            "--runs",
            runs,
            "--manifest",
            manifest.root / "manifest.csv",
            "--heatmaps",
            store,
            "--out",
            out,
            *more,
        ],
    ]
    for command in commands:
        result = CliRunner().invoke(main, [str(part) for part in command])
        assert result.exit_code == 0, result.output
    return out / "figures"


@pytest.mark.parametrize("named", ["{}", "any/{}"], ids=["as in the store", "otherwise"])
def test_images_that_stage_1_skipped_are_not_shown(tmp_path: Path, manifest: Manifest, runs: Path, named: str) -> None:
    skipped = ["query/1_1.png", "gallery/3_2.png"]
    rows = [replace(row, sha256=f"{number:064}") for number, row in enumerate(manifest.rows)]
    shown = Manifest(rows, tmp_path / "images")
    shutil.copytree(manifest.root, shown.root)
    for name in skipped:
        (shown.root / name).write_bytes(b"")
    store = write_store(
        tmp_path / "s.zarr", shown, (SIZE, GRID), lambda n: np.zeros((n, 17, *GRID), np.float32), skipped=skipped
    )
    # A store serves its images under any names.
    renamed = Manifest([replace(row, key=named.format(row.key)) for row in shown.rows], shown.root)
    write_figures(tmp_path / "out", find_sources(runs, (), renamed, store, None))
    assert (tmp_path / "out/heatmaps.png").is_file()
    assert [split.unreadable for split in read_summary(tmp_path / "out/data.json").splits] == [1, 1]


def test_activations_under_masks_that_the_heatmaps_do_not_have_are_refused(
    tmp_path: Path, manifest: Manifest, store: Path
) -> None:
    make_run(tmp_path / "runs/a", manifest, 0, [1], tau=0.0001)
    with pytest.raises(StoreError, match=r"keeps nothing below 0\.001, but the model's tau is 0\.0001"):
        write_figures(tmp_path / "out", find_sources(tmp_path / "runs", (), manifest, store, None))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("of", ["runs", "evaluations"])
def test_variants_that_are_one_row_are_refused_as_in_the_tables(
    tmp_path: Path, manifest: Manifest, store: Path, of: str
) -> None:
    evaluations = [tmp_path / "evaluations"] if of == "evaluations" else []
    for name, row in (("a", {}), ("b", {"intra_mask": "one"})):
        if of == "runs" or name == "a":
            make_run(tmp_path / "runs" / name, manifest, 0, [1], **row)
        for folder in evaluations:
            write_identities(folder / name, manifest, row, name)
    # A row may differ in what it has no module for.
    make_run(tmp_path / "runs/c", manifest, 0, [1], intra=False, inter_layers=0, intra_mask="one")
    make_run(tmp_path / "runs/d", manifest, 1, [1], intra=False, inter_layers=0)
    with pytest.raises(ReportError) as refused:
        write_figures(tmp_path / "out", find_sources(tmp_path / "runs", evaluations, manifest, store, None))
    ends = "/embeddings.h5" if evaluations else ""
    first, second = (f"{tmp_path / of / name}{ends}" for name in "ab")
    assert str(refused.value) == (
        f"runs {first!r} and {second!r} differ in model.intra_mask ('raw', 'one') and cannot share one figure; report "
        "them separately"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_figures_have_the_same_bytes_each_time_and_tell_no_time(
    tmp_path: Path, manifest: Manifest, store: Path, runs: Path, write_metrics: object
) -> None:
    first = draw(tmp_path, manifest, store, runs, write_metrics, "a")
    second = draw(tmp_path, manifest, store, runs, write_metrics, "b")
    names = sorted(path.name for path in first.iterdir())
    assert names == ["activations.png", "curves.png", "data.json", "heatmaps.png"]
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()
    for name in set(names) - {"data.json"}:
        assert chunks(first / name) <= {"IHDR", "pHYs", "IDAT", "IEND"}


def test_the_figures_know_the_data_and_the_page_tells_it(
    tmp_path: Path, manifest: Manifest, store: Path, runs: Path, write_metrics: object
) -> None:
    folder = draw(tmp_path, manifest, store, runs, write_metrics, "a")
    query, gallery = read_summary(folder / "data.json").splits
    assert (query.images, query.identities, query.cameras, query.unreadable) == (8, 8, 1, 0)
    assert (gallery.images, gallery.images_an_identity, gallery.cameras) == (16, (2, 2.0, 2), 2)
    assert gallery.visible == {"head": 0, "upper": 0, "lower": 0}, "a knee alone is no lower body"
    assert CliRunner().invoke(main, ["html", str(folder.parent)]).exit_code == 0
    page = (folder.parent / "report.html").read_text()
    assert page.index("<h2>Data: mine</h2>") < page.index("<h2>Table 3")


def write_identities(folder: Path, manifest: Manifest, row: dict[str, object], checkpoint: str = "0") -> None:
    """An evaluation of embeddings that say who it is."""
    model = ModelParams.model_validate({**TINY, **row})
    lineage = EmbeddingsLineage(
        variant=None,
        seed=0,
        model=model,
        train=TrainParams(image_size=SIZE),
        checkpoint_sha256=checkpoint * 64,
        trained_on_manifest=manifest.fingerprint,
        trained_on_heatmaps=None,
        initial_weights_sha256=None,
        manifest_fingerprint=manifest.fingerprint,
        heatmaps_fingerprint=None,
        image_size=SIZE,
    )
    images = [*manifest.split("query"), *manifest.split("gallery")]
    pids = torch.tensor([one.pid - 1 for one in images])
    features = torch.nn.functional.one_hot(pids, 8).float()
    names = ("stripe", "patch") if model.inter_layers else ("global",)
    batch = dict.fromkeys(names, features)
    if model.parts:
        G = len(model.part_groups)
        batch |= {"groups": features[:, None].expand(-1, G, -1), "confidence": torch.ones(len(images), G)}
    folder.mkdir(parents=True)
    write_embeddings(folder / "embeddings.h5", images, lineage, [batch])
    evaluate_embeddings(folder / "embeddings.h5", None, manifest, EvaluateParams(), folder, torch.device("cpu"))


@pytest.mark.slow
def test_rank_lists_stand_side_by_side_where_there_are_embeddings(
    tmp_path: Path, manifest: Manifest, store: Path, runs: Path, write_metrics: Callable[..., Path]
) -> None:
    evaluations, apart = tmp_path / "evaluations", tmp_path / "apart"
    write_identities(evaluations / "a", manifest, {"parts": False, "intra": False, "inter_layers": 0}, "1")
    write_identities(evaluations / "b", manifest, {}, "2")

    def lists(out: str, *places: Path) -> Path:
        given = [word for place in places for word in ("--evaluations", place)]
        return draw(tmp_path, manifest, store, runs, write_metrics, out, *given) / "ranks.png"

    both = lists("with-both", evaluations)
    for number, name in enumerate("ba"):
        # Under other names, so that they can be told apart by what they were made from alone.
        (apart / str(number)).mkdir(parents=True)
        (evaluations / name / "embeddings.h5").rename(apart / str(number) / "embeddings.h5")
    assert lists("from-two-folders", evaluations, apart).read_bytes() == both.read_bytes()
    shutil.rmtree(evaluations / "a")
    with Image.open(both) as picture, Image.open(lists("with-one", evaluations, apart)) as alone:
        assert alone.height == picture.height
        assert alone.width < picture.width


def test_pictures_of_pillow_are_saved_plainly_too(tmp_path: Path) -> None:
    save(Image.new("RGB", (3, 2)), tmp_path / "a.png")
    assert chunks(tmp_path / "a.png") == {"IHDR", "IDAT", "IEND"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"--runs": "none"}, "no finished run"),
        ({"--evaluations": "none"}, "none is not a folder"),
        ({"--evaluations": "alone"}, "no metrics.json under"),
        ({"--evaluations": "numbers"}, "numbers/metrics.json was computed from an embeddings.h5 that is not in"),
        ({"--evaluations": "mixed"}, "mixed holds metrics.json and embeddings.h5 of different runs"),
        ({"--heatmaps": "none"}, "none"),
        ({"--root": "none"}, "is not a folder"),
    ],
)
def test_missing_inputs_are_one_line_and_leave_no_figure(
    tmp_path: Path,
    manifest: Manifest,
    store: Path,
    runs: Path,
    write_metrics: object,
    change: dict[str, str],
    said: str,
) -> None:
    write_identities(tmp_path / "alone", manifest, {})
    write_identities(tmp_path / "mixed", manifest, {}, "1")
    shutil.copy(tmp_path / "alone" / "metrics.json", tmp_path / "mixed" / "metrics.json")
    (tmp_path / "numbers").mkdir()
    (tmp_path / "alone" / "metrics.json").rename(tmp_path / "numbers" / "metrics.json")
    folder = write_metrics("pirt", 0, 0.5) if callable(write_metrics) else Path()
    out = tmp_path / "out"
    CliRunner().invoke(main, ["tables", "--benchmark", "mine", "--metrics", str(folder), "--out", str(out)])
    options = {"--runs": runs, "--manifest": manifest.root / "manifest.csv", "--heatmaps": store, "--out": out}
    given = {**options, **{name: tmp_path / value for name, value in change.items()}}
    result = CliRunner().invoke(main, ["figures", *(str(part) for pair in given.items() for part in pair)])
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert len(result.output.splitlines()) == 1
    assert not (out / "figures").exists()
