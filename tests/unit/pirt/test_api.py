"""The Python API against the programs, on the same tiny run."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import pirt
from pirt.core.manifest import read_manifest, write_manifest
from pirt.heatmaps.reader import open_store
from pirt.ranking.embeddings import open_embeddings
from pirt.ranking.matching import group_weights
from pirt_stages.data.importing.layouts.__init__ import Choice
from pirt_stages.data.importing.recipe import import_data_set


@pytest.fixture(scope="module")
def everyone(evaluated: Path) -> pirt.Embedded:
    manifest = pirt.read_manifest(str(evaluated / "manifest.csv"))
    model, record = pirt.load_run(str(evaluated / "run"))
    return pirt.embed(model, record, manifest, pirt.open_store(str(evaluated / "heatmaps.zarr")), device="cpu")


def test_features_and_scores_are_those_of_the_programs(everyone: pirt.Embedded, embeddings_file: Path) -> None:
    written = open_embeddings(embeddings_file)
    query, gallery = everyone.split("query"), everyone.split("gallery")
    assert (*query.keys, *gallery.keys) == written.keys
    for split, images in (("query", query), ("gallery", gallery)):
        features = written.features(split)
        torch.testing.assert_close(images.features.globals, features.globals)
        torch.testing.assert_close(images.features.groups, features.groups)
        torch.testing.assert_close(images.features.confidence, features.confidence)
    expected = json.loads(embeddings_file.with_name("metrics.json").read_text())
    found = pirt.measure(query, gallery, device="cpu")
    assert (found.mAP, found.cmc.tolist()) == (expected["mAP"], expected["cmc"])
    assert np.nanmean(found.average_precisions) == pytest.approx(found.mAP)
    assert len(found.average_precisions) == len(query) == 5
    none = pirt.measure(query, gallery, confidence="none", device="cpu")
    assert none.mAP == expected["confidence_modes"]["none"]["mAP"]


@pytest.mark.parametrize("confidence", ["query-gallery", "none"])
def test_distances_follow_from_vectors_and_parts(everyone: pirt.Embedded, confidence: str) -> None:
    query, gallery = everyone.split("query"), everyone.split("gallery")
    matrix = pirt.distances(query, gallery, confidence=confidence)
    assert matrix.shape == (len(query), len(gallery))
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(query.vectors, axis=1), 1, atol=1e-5)
    for q in range(len(query)):
        for g in range(len(gallery)):
            expected = 2 * (1 - float(query.vectors[q] @ gallery.vectors[g]))
            for name in ("head", "upper", "lower"):
                mine, theirs = (torch.tensor(images.confidence[name][i]) for images, i in ((query, q), (gallery, g)))
                apart = np.linalg.norm(query.parts[name][q] - gallery.parts[name][g])
                expected += float(group_weights(mine, theirs, confidence, 3)) * float(apart)
            assert matrix[q, g] == pytest.approx(expected, abs=1e-4)


def test_ranks_are_those_of_the_distances(everyone: pirt.Embedded) -> None:
    query, gallery = everyone[:5], everyone[5:]
    found = pirt.rank(query, gallery, 4)
    np.testing.assert_array_equal(found.images, pirt.distances(query, gallery).argsort(axis=1, kind="stable")[:, :4])


def test_a_model_without_parts_needs_no_heatmaps(evaluated: Path) -> None:
    model, record = pirt.load_run(evaluated / "baseline")
    manifest = pirt.read_manifest(evaluated / "manifest.csv")
    readable = [row for row in manifest.rows if row.key != "gallery/bad.png"]
    people = pirt.embed(model, record, pirt.Manifest(tuple(readable), manifest.root), device="cpu")
    assert (people.parts, people.confidence) == ({}, {})
    matrix = pirt.distances(people, people)
    np.testing.assert_allclose(matrix, 1 - people.vectors @ people.vectors.T, atol=1e-5)
    assert pirt.draw_rank_list(people[:2], people[2:], 3).height > 2 * 128


def test_a_picture_judges_only_what_it_knows(everyone: pirt.Embedded, evaluated: Path) -> None:
    green, red, grey = (0, 150, 60), (210, 30, 30), (140, 140, 140)

    def colours(query: pirt.Embedded, gallery: pirt.Embedded) -> set[object]:
        picture = pirt.draw_rank_list(query, gallery, 20)
        counted = picture.getcolors(picture.width * picture.height) or []
        return {colour for count, colour in counted if count > 500}  # a frame has about 1500 pixels, noise a few

    assert {green, red} <= colours(everyone[:2], everyone[5:])
    assert grey in colours(everyone[:2], everyone[5:])  # the junk image, which shows nobody knows whom
    known = everyone[np.array([row.pid != -1 for row in everyone.rows])]
    assert grey not in colours(known[:2], known[5:])
    model, record = pirt.load_run(evaluated / "baseline")
    nobody = pirt.embed(model, record, pirt.manifest_of_folder(evaluated / "query"), device="cpu")
    assert grey in colours(nobody[:2], nobody[2:])
    assert not {green, red} & colours(nobody[:2], nobody[2:])
    nobodies = replace(everyone, rows=tuple(replace(row, pid=0) for row in everyone.rows))
    assert green not in colours(nobodies[:2], nobodies[5:])


def test_any_function_can_make_the_heatmaps(everyone: pirt.Embedded, evaluated: Path) -> None:
    store = open_store(evaluated / "heatmaps.zarr")
    manifest = read_manifest(evaluated / "manifest.csv")
    row_of = {manifest.image_path(row): place for place, row in enumerate(manifest.rows)}
    readable = tuple(row for row in manifest.rows if row.key != "gallery/bad.png")
    asked: list[Path] = []

    def stored(paths: Sequence[Path]) -> NDArray[np.float32]:
        asked.extend(paths)
        return np.stack([store.read([row_of[path]])[0] for path in paths])

    model, record = pirt.load_run(evaluated / "run")
    people = pirt.embed(model, record, pirt.Manifest(readable, manifest.root), stored, device="cpu")
    assert asked == [manifest.image_path(row) for row in readable]
    by_key = dict(zip(everyone.keys, everyone.vectors, strict=True))
    np.testing.assert_allclose(people.vectors, [by_key[key] for key in people.keys], atol=1e-6)

    def coarse(paths: Sequence[Path]) -> NDArray[np.float32]:
        return np.zeros((len(paths), 17, 4, 2), np.float32)

    with pytest.raises(pirt.PirtError, match=r"are \(23, 17, 4, 2\) for 23 images, .* heatmaps of \(8, 4\)"):
        pirt.embed(model, record, pirt.Manifest(readable, manifest.root), coarse, device="cpu")


def test_places_are_named_as_in_an_array(everyone: pirt.Embedded) -> None:
    keys = everyone.keys
    mask = np.arange(len(everyone)) % 3 == 0
    assert everyone[1].keys == keys[1:2]
    assert everyone[-2:].keys == keys[-2:]
    assert everyone[[3, -1]].keys == everyone[np.array([3, -1])].keys == (keys[3], keys[-1])
    assert everyone[mask].keys == everyone[mask.tolist()].keys == keys[::3]
    np.testing.assert_array_equal(everyone[mask].vectors, everyone.vectors[mask])
    assert [one.keys[0] for one in everyone] == list(keys)
    with pytest.raises(IndexError):
        everyone[len(everyone)]
    assert repr(everyone).startswith(f"Embedded({len(everyone)} images, vectors {len(everyone)}×")
    assert len(repr(everyone)) < 100


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda one: one.split("test"), "split = 'test', expected one of train, query, gallery"),
        (
            lambda one: pirt.distances(one, one, confidence="both"),
            "confidence = 'both', expected one of query-g",
        ),
        (
            lambda one: pirt.distances(one, one, group_distance="l1"),
            "group_distance = 'l1', expected one of euclid",
        ),
        (lambda one: pirt.rank(one, one, confidence="both"), "confidence = 'both'"),
        (lambda one: pirt.measure(one, one, confidence="both"), "confidence = 'both'"),
        (lambda one: pirt.rank(one, one, 0), "top_k = 0, expected at least 1"),
        (lambda one: pirt.draw_rank_list(one, one, top_n=-1), "top_n = -1, expected at least 1"),
    ],
)
def test_what_is_not_there_is_never_taken_for_something_else(
    everyone: pirt.Embedded, call: Callable[[pirt.Embedded], object], words: str
) -> None:
    with pytest.raises(pirt.PirtError, match=re.escape(words)):
        call(everyone)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"device": "gpu"}, "device = 'gpu', expected one of auto, cpu, cuda"),
        ({"batch_size": 0}, "batch_size = 0, expected at least 1"),
        ({"workers": -1}, "workers = -1, expected at least 0"),
        (
            {"heatmaps": "heatmaps.zarr"},
            "heatmaps = 'heatmaps.zarr', but this model needs some; pass a store",
        ),
        ({"heatmaps": None}, "heatmaps = None, but this model needs some"),
        ({"heatmaps": lambda paths: [1] * len(paths)}, "heatmaps on the fly are (24,) for 24 images"),
        (
            {"heatmaps": lambda paths: np.zeros((len(paths), 13, 8, 4))},
            "are (24, 13, 8, 4) for 24 images, the run",
        ),
        ({"heatmaps": lambda paths: np.full((len(paths), 17, 8, 4), np.nan)}, "go from nan to nan, expected 0 to 1"),
        ({"heatmaps": lambda paths: np.full((len(paths), 17, 8, 4), 255)}, "go from 255 to 255, expected 0 to 1"),
    ],
)
def test_embed_refuses_what_would_give_wrong_features(evaluated: Path, asked: dict[str, Any], words: str) -> None:
    model, record = pirt.load_run(evaluated / "run")
    manifest = pirt.read_manifest(evaluated / "manifest.csv")
    how = {"heatmaps": pirt.open_store(evaluated / "heatmaps.zarr"), "device": "cpu"} | asked
    with pytest.raises(pirt.PirtError, match=re.escape(words)):
        pirt.embed(model, record, manifest, **how)


def test_images_of_two_models_are_not_compared(everyone: pirt.Embedded) -> None:
    others = replace(everyone, weights_sha256="0" * 64)
    narrower = replace(everyone, features=replace(everyone.features, globals=everyone.features.globals[:, 1:]))
    for call in (pirt.distances, pirt.rank, pirt.measure, pirt.draw_rank_list):
        for other in (others, narrower, replace(everyone, group_names=("all",))):
            with pytest.raises(pirt.PirtError, match="come from two models and cannot be compared"):
                call(everyone, other)
    unsaved = replace(everyone, weights_sha256=None)
    assert pirt.distances(unsaved, everyone).shape == (len(everyone), len(everyone))


def test_a_folder_is_listed_as_the_importer_lists_it(evaluated: Path, tmp_path: Path) -> None:
    listed = pirt.manifest_of_folder(str(evaluated / "query"))
    imported = import_data_set(evaluated / "query", tmp_path / "manifest.csv", Choice(layout="folder")).manifest
    assert listed.fingerprint == imported.fingerprint
    assert len(listed.rows) == 5
    (tmp_path / "empty").mkdir()
    with pytest.raises(pirt.PirtError, match="lists no image"):
        pirt.manifest_of_folder(tmp_path / "empty")
    with pytest.raises(pirt.PirtError, match="is not a folder of images"):
        pirt.manifest_of_folder(tmp_path / "none")


def test_a_store_without_an_image_is_refused(evaluated: Path, tmp_path: Path) -> None:
    model, record = pirt.load_run(evaluated / "run")
    manifest = read_manifest(evaluated / "manifest.csv")
    changed = replace(manifest.rows[0], sha256="f" * 64)
    other = write_manifest(tmp_path / "other.csv", (changed, *manifest.rows[1:]), evaluated)
    with pytest.raises(pirt.PirtError, match=rf"lacks 1 of .* '{changed.key}', which was another image"):
        pirt.embed(model, record, other, open_store(evaluated / "heatmaps.zarr"))
