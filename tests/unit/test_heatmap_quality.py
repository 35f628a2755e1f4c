"""Heatmaps drawn from the truth, and spoilt ones."""

import json
import math
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pirt.core.manifest import read_manifest
from pirt.heatmaps.reader import HeatmapStore, open_store

pytest.importorskip("mmpose", reason="stores are written by stage 1")
FOLDER = Path(__file__).parents[2] / "benchmarks"
PARTS = (range(5), range(5, 11), range(11, 17))


@pytest.fixture(scope="module")
def benchmark() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "heatmap_quality.py"), run_name="not main")


@pytest.fixture(scope="module")
def stores(
    persons: Path, benchmark: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, HeatmapStore], dict[str, list[list[float]]], list[str]]:
    """Each kind of store, the keypoints that the truth was drawn from, and the images that a stranger covers."""
    out, manifest = tmp_path_factory.mktemp("stores"), read_manifest(persons / "manifest.csv")
    chance, images, annotations, truth, strangers = np.random.default_rng(0), [], [], {}, []
    for number, row in enumerate(manifest.rows):
        points = [[float(x), float(y), int(v)] for x, y, v in chance.integers(0, (32, 64, 3), (17, 3))]
        images.append({"id": number, "file_name": row.path})
        occluder = ("pedestrian", None, "box")[number % 3]
        flat = [value for point in points for value in point]
        annotations.append({"image_id": number, "keypoints": flat, "occluder": occluder, "occluded": bool(occluder)})
        truth[row.key] = points
        strangers += [row.key] if occluder == "pedestrian" else []
    (out / "keypoints.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    network = open_store(persons / "heatmaps.zarr")
    benchmark["write_stores"](out, manifest, network, out / "keypoints.json", (64, 32), 1.0)
    return {path.stem: open_store(path) for path in out.glob("*.zarr")} | {"network": network}, truth, strangers


@pytest.mark.slow
def test_the_truth_is_a_gaussian_around_each_labelled_keypoint(stores: Any) -> None:
    made, truth, _ = stores
    for place, key in enumerate(made["truth"].keys):
        heatmaps = made["truth"].read([place])[0]
        for heatmap, (x, y, flag) in zip(heatmaps, truth[key], strict=True):
            height = (0.0, 0.3, 0.9)[int(flag)]
            for row in range(16):
                for column in range(8):
                    far = (row - y * 16 / 64) ** 2 + (column - x * 8 / 32) ** 2
                    value = height * math.exp(-far / 2)
                    assert heatmap[row, column] == pytest.approx(value if value > 0.001 else 0, rel=0.016)


def test_moved_heatmaps_are_whole_but_elsewhere(stores: Any) -> None:
    made, _, _ = stores
    before, after = (made[name].read(slice(None)) for name in ("network", "moved"))
    assert not np.array_equal(before, after)
    for one, other in zip(before[3], after[3], strict=True):
        steps = [(down, right) for down in range(-9, 10) for right in range(-7, 8)]
        assert any(np.array_equal(other, shifted(one, *step)) for step in steps)


def shifted(heatmap: np.ndarray, down: int, right: int) -> np.ndarray:
    result = np.zeros_like(heatmap)
    for row in range(16):
        for column in range(8):
            if 0 <= row - down < 16 and 0 <= column - right < 8:
                result[row, column] = heatmap[row - down, column - right]
    return result


def test_missing_parts_are_missing_whole(stores: Any) -> None:
    made, _, _ = stores
    missing = 0
    for one, other in zip(made["network"].read(slice(None)), made["parts-missing"].read(slice(None)), strict=True):
        for part in PARTS:
            gone = not other[list(part)].any()
            missing += gone
            assert gone or np.array_equal(one[list(part)], other[list(part)])
    assert 0.15 < missing / (3 * len(made["network"].keys)) < 0.45


def test_a_stranger_stands_where_one_covers(stores: Any) -> None:
    made, _, strangers = stores
    for key, one, other in zip(
        made["network"].keys, made["network"].read(slice(None)), made["stranger"].read(slice(None)), strict=True
    ):
        assert (other >= one).all()
        assert np.array_equal(one, other) == (key not in strangers)


def test_each_store_is_told_from_the_others(stores: Any) -> None:
    made, _, _ = stores
    assert len({store.attributes.config_sha256 for store in made.values()}) == len(made) == 5
