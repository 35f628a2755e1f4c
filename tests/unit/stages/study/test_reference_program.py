import csv
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_gallery import BAD_IMAGE, HEATMAP_SIZE, IMAGE_SIZE, write_persons
from tiny_stores import noise, write_store

from pirt.core.manifest import read_manifest
from pirt.heatmaps.reader import open_store
from pirt_stages.report.cli import main
from pirt_stages.study.reference import LEVELS, colour_codes, histogram, shared_out, stretched

GROUPS = (range(5), range(5, 11), range(11, 17))


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Persons of noise, of whom the heatmaps see some parts and hardly others."""
    root, draw, chance = tmp_path_factory.mktemp("gallery"), noise(1, HEATMAP_SIZE, power=1), np.random.default_rng(2)

    def values(count: int) -> np.ndarray:
        seen = np.repeat(chance.random((count, 3), np.float32) ** 4, [len(group) for group in GROUPS], axis=1)
        heatmaps = draw(count) * seen[:, :, None, None]
        return np.where(draw(count) < 0.05, heatmaps, 0)  # masks of few cells

    manifest = write_persons(root)
    write_store(root / "heatmaps.zarr", manifest, (IMAGE_SIZE, HEATMAP_SIZE), values, skipped=(BAD_IMAGE,))
    return root


def typed(gallery: Path, out: Path) -> list[dict[str, str]]:
    (out.parent / "params.yaml").write_text("evaluate: {matching: full}\n")
    inputs = ("--manifest", gallery / "manifest.csv", "--heatmaps", gallery / "heatmaps.zarr")
    arguments = ["reference", "--params", out.parent / "params.yaml", *inputs, "--out", out]
    ended = CliRunner().invoke(main, list(map(str, arguments)))
    assert ended.exit_code == 0, ended.output
    assert ended.stderr == "note: 1 gallery images are left out: unreadable in stage 1\n"
    return list(csv.DictReader((out / "reference.csv").read_text().splitlines()))


def by_loops(pixels: np.ndarray, weight: np.ndarray) -> dict[tuple[int, ...], float]:
    total, sums = 0.0, {}
    for y in range(pixels.shape[0]):
        for x in range(pixels.shape[1]):
            colour = tuple(int(value) * LEVELS // 256 for value in pixels[y, x])
            cell = weight[y * weight.shape[0] // pixels.shape[0], x * weight.shape[1] // pixels.shape[1]]
            sums[colour] = sums.get(colour, 0.0) + float(cell)
            total += float(cell)
    return {colour: math.sqrt(value / total) for colour, value in sums.items() if value}


def overlap(one: dict, other: dict) -> float:
    return sum(value * other.get(colour, 0.0) for colour, value in one.items())


def test_the_rows_are_ranked_as_by_loops(gallery: Path, tmp_path: Path) -> None:
    """mAP of the whole pictures' colours and of those under the masks, from pixels to precision."""
    manifest, store = read_manifest(gallery / "manifest.csv"), open_store(gallery / "heatmaps.zarr")
    rows = [row for row in manifest.rows if "bad" not in row.key]
    seen = []
    for row in rows:
        pixels = np.asarray(Image.open(manifest.image_path(row)))
        heatmaps = store.read(store.indices_of([row]))[0]
        groups = [heatmaps[list(group)].max(axis=0) for group in GROUPS]
        scores = [float(group.max()) for group in groups]
        confidence = [score / sum(scores) for score in scores]
        whole = by_loops(pixels, np.ones((1, 1)))
        seen.append((whole, [by_loops(pixels, group > 0.001) for group in groups], confidence))
    found = {"colours": [], "+ colours under the part masks": []}
    for row, (whole, groups, confidence) in zip(rows, seen, strict=True):
        if row.split == "query":
            distances = {"colours": [], "+ colours under the part masks": []}
            for other, (theirs, their_groups, their_confidence) in zip(rows, seen, strict=True):
                if other.split == "query" or other.pid == -1 or (other.pid, other.camid) == (row.pid, row.camid):
                    continue
                distance = 1 - overlap(whole, theirs)
                distances["colours"].append((distance, other.pid))
                for parts in zip(groups, their_groups, confidence, their_confidence, strict=True):
                    weight = math.sqrt(parts[2] * parts[3])
                    distance += weight * math.sqrt(max(0.0, 2 - 2 * overlap(parts[0], parts[1])))
                distances["+ colours under the part masks"].append((distance, other.pid))
            for name, ranked in distances.items():
                hits = [pid == row.pid for _, pid in sorted(ranked, key=lambda pair: pair[0])]
                at = [place for place, hit in enumerate(hits, 1) if hit]
                found[name].append(sum(n / place for n, place in enumerate(at, 1)) / len(at))
    told = {line["ranked by"].removeprefix("'"): float(line["mAP"]) for line in typed(gallery, tmp_path / "out")}
    for name, precisions in found.items():
        assert told[name] == pytest.approx(100 * sum(precisions) / len(precisions), abs=0.01), name


def test_the_same_images_give_the_same_bytes(gallery: Path, tmp_path: Path) -> None:
    first = typed(gallery, tmp_path / "out")
    assert typed(gallery, tmp_path / "out") == first
    assert len(first) == 4


def test_masks_that_the_heatmaps_do_not_have_are_refused(gallery: Path, tmp_path: Path) -> None:
    """As in training; below its own threshold the store has nothing."""
    (tmp_path / "params.yaml").write_text("model: {tau: 0.0001}\n")
    inputs = ("--manifest", gallery / "manifest.csv", "--heatmaps", gallery / "heatmaps.zarr")
    arguments = ["reference", "--params", tmp_path / "params.yaml", *inputs, "--out", tmp_path / "out"]
    refused = CliRunner().invoke(main, list(map(str, arguments)))
    assert (refused.exit_code, "keeps nothing below 0.001, but the model's tau is 0.0001" in refused.output) == (
        2,
        True,
    )
    assert not (tmp_path / "out").exists()


def test_no_weights_give_no_histogram_and_even_confidence() -> None:
    codes = colour_codes(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8))
    assert codes.tolist() == [[0, LEVELS**3 - 1]]
    assert not histogram(codes, np.zeros((1, 2))).any()
    assert shared_out(np.array([[0.0, 0.0], [0.5, 1.5]])).tolist() == [[0.5, 0.5], [0.25, 0.75]]


def test_each_pixel_has_its_cells_value() -> None:
    maps = np.arange(6, dtype=np.float32).reshape(1, 3, 2)
    middle = [[maps[0, int((y + 0.5) * 3 / 7), int((x + 0.5) * 2 / 5)] for x in range(5)] for y in range(7)]
    assert stretched(maps, (7, 5))[0].tolist() == middle
    assert stretched(maps, (6, 4))[0].tolist() == maps[0].repeat(2, 0).repeat(2, 1).tolist()
