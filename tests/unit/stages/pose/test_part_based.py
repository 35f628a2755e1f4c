"""What BPBReID's and KPR's loaders look for is there, under the names and in the form in which they read it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.manifest import ImageRow, Manifest, write_manifest
from pirt.heatmaps.reader import open_store
from pirt.heatmaps.schema import SkippedImage, StoreAttributes
from pirt_stages.pose.cli import main
from pirt_stages.pose.extraction.writer import create_store
from pirt_stages.pose.stores.export import keypoints_of
from pirt_stages.pose.stores.part_based import LIMBS, limb_fields

PATHS = (
    "bounding_box_train/0001_c1s1_000151_00.jpg",
    "query/0002_c1s1_000151_00.jpg",
    "bounding_box_test/0002_c2s1_000151_00.jpg",
    "occluded_body_images/001/001_01.tif",
)
WIDTH, HEIGHT = 40, 90
SKIPPED = 2


def named(pattern: str) -> list[str]:
    return [
        pattern.format("bounding_box_train", "0001_c1s1_000151_00.jpg"),
        pattern.format("query", "0002_c1s1_000151_00.jpg"),
        pattern.format("bounding_box_test", "0002_c2s1_000151_00.jpg"),
    ]


def manifest_of(folder: Path, paths: tuple[str, ...]) -> Manifest:
    rows = []
    for path in paths:
        (folder / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "data" / path)
        rows.append(ImageRow(path, path, "train", 1, 1, "0" * 64))
    return write_manifest(folder / "manifest.csv", rows, folder / "data")


@pytest.fixture
def heatmaps() -> NDArray[np.float32]:
    maps = np.random.default_rng(1).random((len(PATHS), 17, 16, 8), np.float32) * np.float32(0.2)
    maps[0, 0] = 0  # a keypoint that is not seen at all
    maps[1, 5, 0, 0] = 1  # a peak in the corner
    return maps


def stored(folder: Path, manifest: Manifest, heatmaps: NDArray[np.float32]) -> Path:
    attributes = StoreAttributes(
        keypoints=COCO_KEYPOINTS, codec="float32", tau=0.001, input_size=(64, 32), heatmap_size=(16, 8),
        geometry="resize", network="any", config_sha256="", weights_sha256="",
        precision="float32", flip_test=False, batch_size=4,
        skipped=(SkippedImage(key=manifest.keys[SKIPPED], reason="empty"),),
    )  # fmt: skip
    writer = create_store(folder / "h.zarr", manifest.rows, attributes, 4)
    writer.write(0, heatmaps[: len(manifest.rows)])
    return writer.seal()


def export(to: str, folder: Path, store: Path, out: Path) -> tuple[int, str]:
    command = ["export", store, "--format", to, "--manifest", folder / "manifest.csv", "--out", out]
    done = CliRunner().invoke(main, [str(word) for word in command])
    return done.exit_code, done.output


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_bpbreid_finds_36_fields_an_image(tmp_path: Path, heatmaps: NDArray[np.float32]) -> None:
    store = stored(tmp_path, manifest_of(tmp_path, PATHS), heatmaps)
    for _ in range(2):  # its own folder is replaced
        assert export("bpbreid", tmp_path, store, tmp_path / "out")[0] == 0
    names = [*named("masks/pifpaf/{}/{}.confidence_fields.npy")]
    names.append("masks/pifpaf/occluded_body_images/001_01.jpg.confidence_fields.npy")
    tif = names[-1].replace(".jpg.", ".tif.")  # what its loader of Occluded-REID asks for depends on the version
    assert files_of(tmp_path / "out") == {*names, tif}
    assert (tmp_path / "out" / tif).read_bytes() == (tmp_path / "out" / names[-1]).read_bytes()
    for row, name in enumerate(names):
        fields = np.load(tmp_path / "out" / name)
        assert (fields.dtype, fields.shape) == (np.float32, (36, 16, 8))
        np.testing.assert_array_equal(fields[:17], open_store(store).read([row])[0])
        assert ((fields >= 0) & (fields <= 1)).all()
        assert fields.any() == (row != SKIPPED)


def test_limbs_lie_between_their_ends(heatmaps: NDArray[np.float32]) -> None:
    assert [" ".join(COCO_KEYPOINTS[end] for end in LIMBS[i]) for i in (0, 7, 18)] == [
        "left_ankle left_knee",
        "left_shoulder right_shoulder",
        "right_ear right_shoulder",
    ]
    assert len(LIMBS) == 19
    one = heatmaps[3]
    fields = limb_fields(one)
    for (first, second), field in zip(LIMBS, fields, strict=True):
        ends = [np.unravel_index(one[end].argmax(), one[end].shape) for end in (first, second)]
        weaker = min(one[first].max(), one[second].max())
        for y in range(16):
            for x in range(8):
                # The nearest of many points on the limb, by a plain loop.
                near = min(
                    (ends[0][0] + (ends[1][0] - ends[0][0]) * t - y) ** 2
                    + (ends[0][1] + (ends[1][1] - ends[0][1]) * t - x) ** 2
                    for t in np.linspace(0, 1, 201)
                )
                assert field[y, x] == pytest.approx(weaker * np.exp(-near / 2), abs=2e-4)


def test_kpr_finds_one_target_an_image(tmp_path: Path, heatmaps: NDArray[np.float32]) -> None:
    store = stored(tmp_path, manifest_of(tmp_path, PATHS), heatmaps)
    assert export("kpr", tmp_path, store, tmp_path / "out")[0] == 0
    names = [*named("external_annotation/pirt/{}/{}_keypoints.json")]
    names.append("external_annotation/pirt/occluded_body_images/001_01.tif_keypoints.json")
    assert files_of(tmp_path / "out") == set(names)
    opened = open_store(store)
    for row, name in enumerate(names):
        skeletons = json.loads((tmp_path / "out" / name).read_text())
        assert len(skeletons) == (row != SKIPPED)
        for skeleton in skeletons:
            assert skeleton["is_target"] is True
            triples = np.array(skeleton["keypoints"]).reshape(-1, 3)
            maps = opened.read([row])[0]
            wanted = keypoints_of(maps, (WIDTH, HEIGHT), opened.attributes).clip(0, (WIDTH - 1, HEIGHT - 1))
            seen = maps.max(axis=(1, 2)) > 0
            np.testing.assert_allclose(triples[seen, :2], wanted[seen], atol=1e-3)
            np.testing.assert_allclose(triples[:, 2], maps.max(axis=(1, 2)), atol=1e-3)
            assert not triples[~seen].any()
    corner = json.loads((tmp_path / "out" / names[1]).read_text())[0]["keypoints"][15:18]
    assert min(corner[:2]) >= 0, "KPR would drop it"


@pytest.mark.parametrize(
    ("to", "path", "name"),
    [
        (
            "bpbreid",
            "test/whole_body_images/0001/0001_c1_2.jpg",
            "masks/pifpaf/test/whole_body_images/0001_c1_2.jpg.confidence_fields.npy",
        ),
        (
            "kpr",
            "test/whole_body_images/0001/0001_c1_2.jpg",
            "external_annotation/pirt/0001/0001_c1_2.jpg_keypoints.json",
        ),
        ("bpbreid", "partial_body_images/001_001.jpg", "partial_body_images/001_001.jpg.confidence_fields.npy"),
        ("kpr", "occluded_body_images/001_001.jpg", "occluded_body_images/001_001.jpg.predictions.json"),
        ("kpr", "train/0001/0001_000_01.jpg", "external_annotation/pirt/0001/0001_000_01.jpg_keypoints.json"),
    ],
)
def test_other_layouts_find_theirs(
    tmp_path: Path, heatmaps: NDArray[np.float32], to: str, path: str, name: str
) -> None:
    """P-DukeMTMC-reID, Partial-REID and MSMT17, by their loaders' own rules."""
    paths = (path, "query/1.jpg", "query/2.jpg")
    store = stored(tmp_path, manifest_of(tmp_path, paths), heatmaps)
    assert export(to, tmp_path, store, tmp_path / "out")[0] == 0
    assert name in files_of(tmp_path / "out")


@pytest.mark.parametrize("to", ["bpbreid", "kpr"])
def test_an_image_may_be_query_and_gallery(tmp_path: Path, heatmaps: NDArray[np.float32], to: str) -> None:
    once = manifest_of(tmp_path, PATHS[:2]).rows
    twice = write_manifest(tmp_path / "manifest.csv", [*once, replace(once[1], key="again")], tmp_path / "data")
    store = stored(tmp_path, twice, np.concatenate([heatmaps[:2], heatmaps[1:2]]))
    code, said = export(to, tmp_path, store, tmp_path / "out")
    assert code == 0, said


@pytest.mark.parametrize("to", ["bpbreid", "kpr"])
def test_what_would_be_lost_or_mixed_up_is_refused(tmp_path: Path, heatmaps: NDArray[np.float32], to: str) -> None:
    paths = ("a/query/1.jpg", "b/query/1.jpg", "c/1.jpg")
    store = stored(tmp_path, manifest_of(tmp_path, paths), heatmaps)
    code, said = export(to, tmp_path, store, tmp_path / "out")
    assert (code, "images a/query/1.jpg and b/query/1.jpg would both become" in said) == (2, True), said
    (tmp_path / "two").mkdir()
    store = stored(tmp_path / "two", manifest_of(tmp_path / "two", PATHS), heatmaps)
    code, said = export(to, tmp_path / "two", store, tmp_path / "two" / "data")
    assert (code, "which would be lost" in said) == (2, True), said
    assert not (tmp_path / "out").exists()
