"""Any name that a system may give a file comes back from every file of ours as it was, or is refused before."""

from pathlib import Path

import h5py
import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_runs import SMALL
from tiny_stores import store_attributes

from pirt.core.errors import ManifestError
from pirt.core.manifest import ImageRow, read_manifest, write_manifest
from pirt.core.sealed import sealed, unsealed
from pirt.heatmaps.reader import open_store
from pirt.ranking.embeddings import EmbeddingsLineage, open_embeddings, write_embeddings
from pirt.runs.params import Params, TrainParams
from pirt.runs.run import RunRecord, read_record, write_record
from pirt_stages.pose.extraction.writer import create_store

SPECIAL = "\n\r\0\t \"'=;,#\\\ufeff\u2028\x85\x0b\x1f\u200bé"
names = st.lists(
    st.one_of(st.sampled_from(SPECIAL), st.characters(exclude_categories=("Cs",))), min_size=1, max_size=12
)
keys = st.lists(names.map("".join), min_size=1, max_size=4, unique=True)
often = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def rows_of(keys: list[str]) -> list[ImageRow]:
    return [ImageRow(key, key, "query" if n == 0 else "gallery", n + 1, n, "0" * 64) for n, key in enumerate(keys)]


@often
@given(keys=keys, root=names.map("".join))
def test_a_manifest_gives_names_back_or_refuses_them(keys: list[str], root: str, tmp_path: Path) -> None:
    path, rows = tmp_path / "m.csv", rows_of(keys)
    path.unlink(missing_ok=True)
    try:
        written = write_manifest(path, rows, Path("/") / root)
    except ManifestError:
        assert not path.exists()
        return
    read = read_manifest(path)
    assert read.rows == tuple(rows)
    assert read.root == Path("/") / root
    assert read.fingerprint == written.fingerprint


@often
@given(keys=keys)
def test_a_record_gives_keys_back(keys: list[str], tmp_path: Path) -> None:
    record = RunRecord(
        num_classes=2, manifest_fingerprint="1", heatmaps_fingerprint=None, heatmap_size=None, unreadable=tuple(keys),
        params=Params(model=SMALL),
    )  # fmt: skip
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record
    assert unsealed(sealed({key: key for key in keys})) == {key: key for key in keys}


@settings(often, max_examples=5)
@given(keys=keys)
def test_a_store_gives_keys_back(keys: list[str], tmp_path: Path) -> None:
    writer = create_store(tmp_path / "s.zarr", rows_of(keys), store_attributes((32, 16), (8, 4)), 8, restart=True)
    for shard in writer.pending():
        writer.write(shard, np.zeros((len(writer.rows(shard)), 17, 8, 4), np.float32))
    assert open_store(writer.seal()).keys == tuple(keys)


@settings(often, max_examples=5)
@given(keys=keys.filter(lambda found: not any(key.endswith("\0") for key in found)))
def test_embeddings_give_keys_back(keys: list[str], tmp_path: Path) -> None:
    lineage = EmbeddingsLineage(
        variant=None, seed=0, model=SMALL, train=TrainParams(), checkpoint_sha256="0", trained_on_manifest="1",
        trained_on_heatmaps=None, initial_weights_sha256=None, manifest_fingerprint="1", heatmaps_fingerprint=None,
        image_size=(32, 16), unreadable=tuple(keys),
    )  # fmt: skip
    batch = {name: torch.rand(len(keys), 8) for name in ("stripe", "patch")}
    batch |= {"groups": torch.rand(len(keys), 3, 8), "confidence": torch.rand(len(keys), 3)}
    write_embeddings(tmp_path / "e.h5", rows_of(keys), lineage, [batch])
    found = open_embeddings(tmp_path / "e.h5")
    assert found.keys == tuple(keys)
    assert found.lineage.unreadable == tuple(keys)
    with h5py.File(tmp_path / "e.h5") as file:
        assert len(file["keys"]) == len(keys)
