"""Lists, places and distances against plain loops over sorted lists."""

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from explorer_world import CPU, PEOPLE, TOP_N, write_evaluation

from pirt.core.manifest import Manifest, read_manifest, write_manifest
from pirt.ranking import matching
from pirt.ranking.embeddings import Embeddings, open_embeddings
from pirt.ranking.intervals import bootstrap
from pirt.ranking.params import RerankParams
from pirt_stages.explore import retrieval
from pirt_stages.explore.retrieval import EVEN, GLOBAL, RANKED, TOP_K, retrieve, take_apart
from pirt_stages.explore.sources import Evaluation, find_evaluations, open_evaluations


def opened(folder: Path, manifest: Manifest) -> Evaluation:
    (one,) = open_evaluations(find_evaluations([folder], [], None), [folder], manifest)
    return one


@cache
def stored(path: Path) -> dict[str, np.ndarray]:
    embeddings = open_embeddings(path)
    names = [*embeddings.global_names, *(("groups", "confidence") if embeddings.has_parts else ())]
    return {name: embeddings.read(name, slice(0, len(embeddings.keys))).astype(np.float64) for name in names}


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def distance_parts(embeddings: Embeddings, query: int, image: int) -> tuple[float, list[float], list[float]]:
    """Global distance, distance by group and √(c_q·c_g), of one pair."""
    table, other = stored(embeddings.path), embeddings.query_count + image
    base = sum(1 - float(unit(table[name][query]) @ unit(table[name][other])) for name in embeddings.global_names)
    if not embeddings.has_parts:
        return base, [], []
    groups, confidence = table["groups"], table["confidence"]
    apart = [float(np.linalg.norm(unit(groups[query, g]) - unit(groups[other, g]))) for g in range(3)]
    return base, apart, [math.sqrt(confidence[query, g] * confidence[other, g]) for g in range(3)]


def ranking(embeddings: Embeddings, query: int, order: str, top_n: int) -> list[int]:
    """All gallery images of a query, nearest first."""
    count = len(embeddings.keys) - embeddings.query_count
    parts = [distance_parts(embeddings, query, image) for image in range(count)]
    coarse = sorted(range(count), key=lambda image: (parts[image][0], image))
    if not embeddings.has_parts or order == GLOBAL:
        return coarse

    def fine(image):
        base, groups, weights = parts[image]
        weights = [1 / 3] * 3 if order == EVEN else weights
        return base + sum(w * g for w, g in zip(weights, groups, strict=True))

    return sorted(coarse[:top_n], key=fine) + coarse[top_n:]


@pytest.mark.parametrize("name", ["baseline", "<b>pirt"])
def test_lists_places_and_precisions_are_those_of_sorted_lists(world: Path, name: str) -> None:
    one = opened(world / name, read_manifest(world / "manifest.csv"))
    embeddings, found = one.embeddings, retrieve(one, CPU)
    count = embeddings.query_count
    pids, camids = embeddings.pids[count:], embeddings.camids[count:]
    assert set(found.lists) == ({RANKED, EVEN, GLOBAL} if embeddings.has_parts else {RANKED})
    for order, lists in found.lists.items():
        for query in range(count):
            pid, camid = embeddings.pids[query], embeddings.camids[query]
            ranked = ranking(embeddings, query, order, TOP_N)
            assert lists[query].tolist() == ranked[:TOP_K]
            valid = [i for i in ranked if pids[i] != -1 and not (pids[i] == pid and camids[i] == camid)]
            places = [place for place, image in enumerate(valid) if pids[image] == pid]
            metrics = found.rankings[order]
            assert metrics.places[query].tolist() == places
            expected = sum((n + 1) / (place + 1) for n, place in enumerate(places)) / len(places)
            assert metrics.average_precisions[query] == pytest.approx(expected, abs=1e-12)
            if order == RANKED:
                assert found.matches[query].tolist() == [valid[place] for place in places]
                for c, camera in enumerate(found.cameras):
                    of_camera = [i for i in valid if camids[i] == camera]
                    hits = [place for place, image in enumerate(of_camera) if pids[image] == pid]
                    cell = found.by_camera[query, c]
                    if hits:
                        assert cell == pytest.approx(np.mean([(n + 1) / (p + 1) for n, p in enumerate(hits)]))
                    else:
                        assert np.isnan(cell)
    assert found.rankings[RANKED].mAP == pytest.approx(one.metrics.mean_ap, abs=1e-12)


@pytest.mark.parametrize("name", ["baseline", "<b>pirt"])
def test_the_parts_of_a_distance_add_up_to_what_is_ranked(world: Path, name: str) -> None:
    one = opened(world / name, read_manifest(world / "manifest.csv"))
    found = retrieve(one, CPU)
    for query, pairs in enumerate(take_apart(one, [found.images(query) for query in range(PEOPLE)], CPU)):
        assert set(found.lists[RANKED][query]) | set(found.matches[query]) <= set(pairs.images)
        coarse = ranking(one.embeddings, query, GLOBAL, TOP_N)[:TOP_N]
        for at, image in enumerate(pairs.images.tolist()):
            base, groups, weights = distance_parts(one.embeddings, query, image)
            assert pairs.base[at] == pytest.approx(base, abs=1e-5)
            assert pairs.groups[at] == pytest.approx(groups, abs=1e-5)
            assert pairs.weights[at] == pytest.approx(weights, abs=1e-6)
            assert pairs.compared[at] == (image in coarse)
            fine = sum(w * g for w, g in zip(weights, groups, strict=True)) if image in coarse else 0
            assert pairs.ranked[at] == pytest.approx(base + fine, abs=1e-5)


@pytest.mark.parametrize("name", ["baseline", "<b>pirt"])
def test_a_gallery_larger_than_the_card_is_taken_apart_alike(
    world: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = opened(world / name, read_manifest(world / "manifest.csv"))
    resident, streamed, placed = retrieve(one, CPU), [], []
    images = [resident.images(query) for query in range(PEOPLE)]
    apart = take_apart(one, images, CPU)
    monkeypatch.setattr(retrieval, "within", lambda gallery, device, copies: placed.append(copies) or gallery)
    monkeypatch.setattr(matching, "_CHUNK", 3)
    monkeypatch.setattr(matching, "_is_elsewhere", lambda rows, device: streamed.append(len(rows)) or True)
    found = retrieve(one, CPU)
    for order, lists in resident.lists.items():
        assert found.lists[order].tolist() == lists.tolist()
    for pairs, others in zip(apart, take_apart(one, images, CPU), strict=True):
        assert pairs.ranked == pytest.approx(others.ranked, abs=1e-6)
    assert streamed
    assert placed == [2, 2]


@pytest.mark.parametrize(
    "how",
    [
        {"matching": "full"},
        {"rerank": RerankParams(k1=4, k2=2)},
        {"junk": "keep"},
        {"coarse": "stripe"},
        {"group_distance": "cosine"},
    ],
)
def test_other_protocols_rank_as_the_evaluation_did(world: Path, tmp_path: Path, how: dict) -> None:
    manifest = read_manifest(world / "manifest.csv")
    folder = write_evaluation(tmp_path / "other", manifest, parts=True, seed=3, **how)
    one = opened(folder, manifest)
    found = retrieve(one, CPU)
    assert found.rankings[RANKED].mAP == pytest.approx(one.metrics.mean_ap, abs=1e-12)
    for query, pairs in enumerate(take_apart(one, [found.images(query) for query in range(PEOPLE)], CPU)):
        place = {image: at for at, image in enumerate(pairs.images.tolist())}
        shown = [place[image] for image in found.lists[RANKED][query].tolist()]
        for compared in (True, False):
            distances = [pairs.ranked[at] for at in shown if pairs.compared[at] == compared]
            assert distances == sorted(distances)
        assert all(pairs.compared) == ("matching" in how)


def test_a_query_that_is_nobody_has_no_match(world: Path, tmp_path: Path) -> None:
    root = read_manifest(world / "manifest.csv")
    rows = [replace(row, pid=0) if number == 1 else row for number, row in enumerate(root.rows)]
    manifest = write_manifest(tmp_path / "manifest.csv", rows, world)
    one = opened(write_evaluation(tmp_path / "one", manifest, parts=True, seed=4), manifest)
    found = retrieve(one, CPU)
    assert [len(images) for images in found.matches] == [len(of) for of in found.rankings[RANKED].places]
    assert len(found.matches[1]) == 0


def test_intervals_draw_identities_not_queries() -> None:
    chance = np.random.default_rng(0)
    pids = np.repeat(np.arange(30), 10)
    of_person = chance.normal(0.5, 0.1, 30)
    values = of_person[pids]  # all queries of a person alike
    found = bootstrap(values, pids)
    assert found is not None
    means = [np.mean([of_person[p] for p in chance.integers(0, 30, 30)]) for _ in range(2000)]
    low, high = np.percentile(means, [2.5, 97.5])
    assert found.mean == pytest.approx(of_person.mean())
    assert (found.low, found.high) == (pytest.approx(low, abs=0.006), pytest.approx(high, abs=0.006))
    assert bootstrap(np.array([np.nan, 0.25, 0.75]), np.array([1, 2, 2])) == type(found)(0.5, None, None)
    assert bootstrap(np.array([np.nan]), np.array([1])) is None


def test_devices_are_left_to_the_caller(world: Path) -> None:
    one = opened(world / "baseline", read_manifest(world / "manifest.csv"))
    assert retrieve(one, torch.device("cpu")).verification.pairs == (
        one.metrics.same_or_different.same_pairs,
        one.metrics.same_or_different.different_pairs,
    )
