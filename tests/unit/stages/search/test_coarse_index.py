import numpy as np
import pytest
import torch

from pirt.core.errors import ParamsError, StoreError
from pirt.core.manifest import ImageRow
from pirt.ranking.embeddings import EmbeddingsLineage, open_embeddings, write_embeddings
from pirt.ranking.matching import Features
from pirt.runs.params import ModelParams, TrainParams
from pirt_stages.search import index as coarse_index
from pirt_stages.search.index import exact_nearest, open_index, recall_of, spread

pytest.importorskip("faiss")

QUERIES, GALLERY = 40, 3000


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory):
    return embedded(tmp_path_factory.mktemp("gallery"), GALLERY)


def embedded(folder, gallery, copies=1):
    rows = [
        ImageRow(f"{number:04}", "", "query" if number < QUERIES else "gallery", 1, 1, "")
        for number in range(QUERIES + gallery)
    ]
    lineage = EmbeddingsLineage(
        variant=None,
        seed=0,
        model=ModelParams(parts=False, inter_layers=0),
        train=TrainParams(),
        checkpoint_sha256="0" * 64,
        trained_on_manifest="0" * 64,
        trained_on_heatmaps=None,
        initial_weights_sha256=None,
        manifest_fingerprint="0" * 64,
        heatmaps_fingerprint=None,
        image_size=(8, 4),
    )
    features = torch.randn(len(rows), 12, generator=torch.Generator().manual_seed(0))
    features[QUERIES:] = features[QUERIES : QUERIES + gallery // copies].repeat(copies, 1)
    path = folder / "embeddings.h5"
    write_embeddings(path, rows, lineage, [{"global": features[:1000]}, {"global": features[1000:]}])
    return open_embeddings(path)


def kept_index(*asked):
    with open_index(*asked) as index:
        return index


def test_a_gallery_without_images_is_told(tmp_path):
    with pytest.raises(StoreError, match="has no gallery images"):
        kept_index(embedded(tmp_path, 0), "flat", 1.0, None)


@pytest.mark.parametrize("file", ["index.faiss", "made_for.json"])
def test_a_damaged_index_is_refused_and_kept(embeddings, tmp_path, file):
    opened = lambda: kept_index(embeddings, "hnsw", 0.5, tmp_path / "index")  # noqa: E731
    assert opened().search(Features(torch.ones(1, 12), 1), 5).images.shape == (1, 5)
    assert opened().made_for.kind == "hnsw"
    content = bytearray((tmp_path / "index" / file).read_bytes())
    content[-20] ^= 1
    (tmp_path / "index" / file).write_bytes(content)
    with pytest.raises(StoreError, match=r"is damaged or not an index: .*remove it to build it again"):
        opened()
    assert (tmp_path / "index" / file).read_bytes() == content


def test_a_record_of_any_size_is_not_read(embeddings, tmp_path):
    kept_index(embeddings, "ivf", 0.5, tmp_path / "index")
    with (tmp_path / "index" / "made_for.json").open("a") as file:
        file.write(" " * (1 << 20))  # which JSON may end with
    with pytest.raises(StoreError, match="over the limit of 1,048,576"):
        kept_index(embeddings, "ivf", 0.5, tmp_path / "index")


def test_an_index_of_another_folder_is_refused(embeddings, tmp_path):
    for recall in (0.5, 0.9):
        kept_index(embeddings, "ivf", recall, tmp_path / f"{recall}")
    index = (tmp_path / "0.5" / "index.faiss").read_bytes()
    (tmp_path / "0.9" / "index.faiss").write_bytes(index[:-1] + b"\0")
    with pytest.raises(StoreError, match=r"index.faiss is not the file that made_for.json records"):
        kept_index(embeddings, "ivf", 0.9, tmp_path / "0.9")


def test_exact_nearest_reads_in_blocks(embeddings, monkeypatch):
    monkeypatch.setattr(coarse_index, "_BLOCK_ROWS", 700)
    query = embeddings.unit_globals(embeddings.rows("query"))
    cosines = query @ embeddings.unit_globals(embeddings.rows("gallery")).T
    expected = cosines.topk(100, dim=1).indices
    assert recall_of(exact_nearest(query, embeddings), expected) == 1.0


def test_recall_counts_what_was_found():
    exact = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    assert recall_of(np.array([[4, 3, 9, -1], [8, 7, 6, 5]]), exact) == 6 / 8


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_effort_rises_until_the_recall_is_reached(embeddings, kind):
    query = Features(embeddings.unit_globals(embeddings.rows("query")), 1)
    exact = exact_nearest(query.globals, embeddings)
    low, high = (kept_index(embeddings, kind, recall, None) for recall in (0.3, 0.99))
    assert low.made_for.effort < high.made_for.effort
    high = high.with_effort(high.made_for.effort)
    assert recall_of(high.search(query, 100).images, exact) >= 0.99


def test_recall_out_of_reach_is_told(embeddings, monkeypatch):
    monkeypatch.setattr(coarse_index, "_MOST_EFFORT", 2)
    with pytest.raises(ParamsError, match=r"--recall asks for 0\.99"):
        kept_index(embeddings, "ivf", 0.99, None)


def test_flat_needs_no_tuning_and_is_exact(embeddings):
    index = kept_index(embeddings, "flat", 0.99, None)
    query = Features(embeddings.unit_globals(embeddings.rows("query")), 1)
    found = index.search(query, 100)
    assert recall_of(found.images, exact_nearest(query.globals, embeddings)) == 1.0
    gallery = embeddings.unit_globals(embeddings.rows("gallery"))
    torch.testing.assert_close(found.distances[0, 0], (1 - query.globals[0] @ gallery.T).min())


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_equally_near_images_keep_the_gallerys_order(tmp_path, kind):
    copied = embedded(tmp_path, 300, copies=3)
    query = Features(copied.unit_globals(copied.rows("query")), 1)
    images = kept_index(copied, kind, 0.9, None).search(query, 30).images.reshape(-1, 10, 3)
    assert (images.diff() == 100).all()


def test_spread_comes_from_all_over(embeddings):
    rows = embeddings.rows("gallery")
    sample = spread(embeddings, rows, 200)
    assert 200 <= len(sample) < 264
    whole = embeddings.unit_globals(rows)
    assert torch.equal(sample[0], whole[0])
    assert torch.equal(sample[-1], whole[-1])
