"""Figure 5 read off its pixels: images of one colour each, features that put them in a known order."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image

from pirt.core.errors import StoreError
from pirt.core.manifest import ImageRow, Manifest, write_manifest
from pirt.ranking.embeddings import Embeddings, EmbeddingsLineage, open_embeddings, write_embeddings
from pirt.ranking.params import EvaluateParams, RerankParams
from pirt.runs.params import ModelParams, TrainParams
from pirt.visual.rank_list import FRAMES
from pirt.visual.retrieval import draw_retrieval, spread_queries

Colour = tuple[int, int, int]
Model = Callable[..., Embeddings]

# Name, pid and camera; the first two are queries.
PEOPLE = [("a", 1, 0), ("b", 2, 1), ("a1", 1, 1), ("b0", 2, 0), ("a0", 1, 0), ("x", 0, 1), ("b1", 2, 1)]
QUERIES = 2
COLOURS: dict[str, Colour] = {name: (200, 30 * place, 5) for place, (name, _, _) in enumerate(PEOPLE)}
BADGE: Colour = (25, 90, 200)
PROTOCOL = EvaluateParams()


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    rows = []
    for place, (name, pid, camid) in enumerate(PEOPLE):
        Image.new("RGB", (32, 64), COLOURS[name]).save(tmp_path / f"{name}.png")
        split = "query" if place < QUERIES else "gallery"
        rows.append(ImageRow(name, f"{name}.png", split, pid, camid, "0" * 64))  # type: ignore[arg-type]
    return write_manifest(tmp_path / "manifest.csv", rows, tmp_path)


def features_at(angles: Sequence[float]) -> torch.Tensor:
    radians = torch.tensor(angles).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], dim=1)


@pytest.fixture
def model(tmp_path: Path, manifest: Manifest) -> Model:
    """Write the embeddings of a model that sees each image at an angle, in degrees, and its parts perhaps at others."""

    def write(
        name: str, angles: Sequence[float], of_parts: Sequence[float] = (), of: Manifest = manifest
    ) -> Embeddings:
        lineage = EmbeddingsLineage(
            variant=name,
            seed=0,
            model=ModelParams(parts=bool(of_parts), intra=False, inter_layers=0),
            train=TrainParams(),
            checkpoint_sha256="0" * 64,
            trained_on_manifest="0" * 64,
            trained_on_heatmaps=None,
            initial_weights_sha256=None,
            manifest_fingerprint=of.fingerprint,
            heatmaps_fingerprint=None,
            image_size=(64, 32),
        )
        batch = {"global": features_at(angles)}
        if of_parts:
            batch["groups"] = features_at(of_parts)[:, None].repeat(1, 3, 1)
            batch["confidence"] = torch.full((len(PEOPLE), 3), 1 / 3)
        write_embeddings(tmp_path / f"{name}.h5", of.rows, lineage, [batch])
        return open_embeddings(tmp_path / f"{name}.h5")

    return write


def shown_in(picture: Image.Image) -> list[str]:
    """Read the name and verdict of every image off the picture, row by row: its colour, and that of its frame."""
    names = {colour: name for name, colour in COLOURS.items()}
    verdicts = {colour: verdict for verdict, colour in FRAMES.items()} | {BADGE: "own"}
    lines = []
    for y in range(picture.height):
        runs = [colour for colour, _ in groupby(picture.getpixel((x, y)) for x in range(picture.width))]
        lines.append(
            " ".join(f"{names[to]}:{verdicts[of]}" for of, to in pairwise(runs) if to in names and of in verdicts)
        )
    return [line for line, _ in groupby(lines) if line]


def test_each_model_shows_its_own_ranking(manifest: Manifest, model: Model) -> None:
    #                          a   b   a1  b0  a0  x   b1
    near = model("near", [0, 90, 10, 80, 20, 50, 95])
    far = model("far", [0, 90, 85, 5, 40, 10, 60])
    picture = draw_retrieval([("near", near, PROTOCOL), ("far", far, PROTOCOL)], manifest, ["b", "a"], top_k=3)
    assert shown_in(picture) == [
        "b:query b1:own b0:match x:other a1:other b1:own a0:other",
        "a:query a1:match a0:own x:other b0:other x:other a0:own",
    ]


def test_junk_is_nobody_known(tmp_path: Path, manifest: Manifest, model: Model) -> None:
    junk = write_manifest(
        tmp_path / "junk.csv", [replace(row, pid=-1) if row.key == "x" else row for row in manifest.rows], tmp_path
    )
    near = model("near", [0, 90, 10, 80, 20, 5, 95], of=junk)
    picture = draw_retrieval([("near", near, PROTOCOL)], junk, ["a"], top_k=3)
    assert shown_in(picture) == ["a:query x:unknown a1:match a0:own"]


def test_images_stand_in_the_order_that_was_measured(manifest: Manifest, model: Model) -> None:
    #                                a  b   a1 b0 a0 x  b1
    parted = model("parted", [0, 90, 1, 2, 3, 4, 5], of_parts=[0, 90, 50, 40, 30, 20, 10])
    orders = {
        1: "a1:match b0:other a0:own x:other b1:other",  # as the images are
        3: "a0:own b0:other a1:match x:other b1:other",  # the first three as the parts are
        5: "b1:other x:other a0:own b0:other a1:match",
    }
    for top_n, order in orders.items():
        picture = draw_retrieval([("parted", parted, EvaluateParams(top_n=top_n))], manifest, ["a"], top_k=5)
        assert shown_in(picture) == [f"a:query {order}"]
    fully = EvaluateParams(top_n=1, matching="full")
    assert shown_in(draw_retrieval([("parted", parted, fully)], manifest, ["a"], top_k=5)) == [f"a:query {orders[5]}"]


def test_images_stand_in_the_re_ranked_order(manifest: Manifest, model: Model) -> None:
    #                          a  b   a1  b0  a0  x   b1
    # a1 is the nearest image of a, but its own two nearest are b0 and a0; x is named by a and b1.
    near = model("near", [0, 60, 20, 22, 24, -21, -23])
    protocol = EvaluateParams(rerank=RerankParams(k1=2, k2=1, original=0))
    plain, again = (
        shown_in(draw_retrieval([("near", near, how)], manifest, ["a"], top_k=5))[0] for how in (PROTOCOL, protocol)
    )
    assert plain == "a:query a1:match x:other b0:other b1:other a0:own"
    assert again == "a:query x:other b1:other a1:match b0:other a0:own"


def test_images_of_the_querys_camera_are_marked(manifest: Manifest, model: Model) -> None:
    near = model("near", [0, 90, 10, 80, 20, 50, 95])
    for top_k, marked in ((1, 0), (2, 1), (3, 1), (4, 2)):  # a1, a0 of its camera, x, b0 of its camera
        picture = draw_retrieval([("near", near, PROTOCOL)], manifest, ["a"], top_k)
        corners = [
            (x, y)
            for x in range(1, picture.width)
            for y in range(1, picture.height)
            if picture.getpixel((x, y)) == BADGE
            and BADGE not in (picture.getpixel((x - 1, y)), picture.getpixel((x, y - 1)))
        ]
        assert len(corners) == 2 * marked, "a frame and a corner, each of which the legend has too"


def test_queries_are_spread_over_the_whole_list(model: Model) -> None:
    five = replace(model("near", [0] * len(PEOPLE)), keys=tuple("pqrst"), query_count=5)
    assert spread_queries(five, 1) == ("p",)
    assert spread_queries(five, 3) == ("p", "q", "s")
    assert spread_queries(five, 5) == tuple("pqrst")
    assert spread_queries(five, 9) == tuple("pqrst")


def test_images_of_another_manifest_are_refused(manifest: Manifest, model: Model, tmp_path: Path) -> None:
    near = model("near", [0, 90, 10, 80, 20, 50, 95])
    other = write_manifest(tmp_path / "other.csv", manifest.rows[1:], manifest.root)
    with pytest.raises(StoreError, match="another manifest"):
        draw_retrieval([("near", near, PROTOCOL)], other, ["b"])
