import dataclasses

import pytest
from click.testing import CliRunner

from pirt.core.errors import StoreError
from pirt.core.manifest import read_manifest
from pirt.ranking.embeddings import open_embeddings
from pirt.visual import retrieval
from pirt.visual.nearest import rank_gallery
from pirt.visual.retrieval import draw_retrieval, spread_queries
from pirt_stages.evaluate.cli import main


@pytest.fixture
def models(arguments_for, embeddings_file, tmp_path):
    ended = CliRunner().invoke(main, arguments_for(tmp_path, "baseline"))
    assert ended.exit_code == 0, ended.output
    return [("baseline", open_embeddings(tmp_path / "embeddings.h5")), ("Pirt", open_embeddings(embeddings_file))]


def test_each_model_shows_its_own_ranking(models, evaluated, monkeypatch):
    drawn = {}
    monkeypatch.setattr(retrieval, "draw_rank_lists", lambda titles, rows: drawn.update(titles=titles, rows=rows))
    manifest = read_manifest(evaluated / "manifest.csv")
    draw_retrieval(models, manifest, ["query/03.png", "query/00.png"], top_k=6)
    assert drawn["titles"] == ["baseline", "Pirt"]
    rows = {row.key: row for row in manifest.rows}
    for query, row in zip(("query/03.png", "query/00.png"), drawn["rows"], strict=True):
        for (_, embeddings), shown in zip(models, row.lists, strict=True):
            place = embeddings.keys.index(query)
            ranked = rank_gallery(embeddings.features("query")[[place]], embeddings.features("gallery"), 6)
            found = [rows[embeddings.keys[embeddings.query_count + image]] for image in ranked.images[0].tolist()]
            assert [image.verdict == "match" for image in shown] == [other.pid == rows[query].pid for other in found]
            assert [image.same_camera for image in shown] == [other.camid == rows[query].camid for other in found]


def test_picture_has_a_row_a_query(models, evaluated):
    manifest = read_manifest(evaluated / "manifest.csv")
    keys = spread_queries(models[0][1], 3)
    assert keys == ("query/00.png", "query/01.png", "query/03.png")
    one, three = (draw_retrieval(models, manifest, keys[:count], 5) for count in (1, 3))
    assert three.width == one.width
    assert three.height > one.height + 2 * 128


def test_images_of_another_manifest_are_refused(models, evaluated):
    manifest = read_manifest(evaluated / "manifest.csv")
    other = dataclasses.replace(manifest, rows=manifest.rows[1:])
    with pytest.raises(StoreError, match="another manifest"):
        draw_retrieval(models, other, ["query/00.png"])
