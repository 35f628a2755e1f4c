"""The store's own decoding equals zarr's, for any count, shard size, codec and choice of rows."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_stores import store_attributes

from pirt.core.manifest import ImageRow
from pirt.heatmaps.codec import CodecName, encode
from pirt.heatmaps.reader import open_store
from pirt_stages.pose.extraction.writer import create_store


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(("tau8", "float16", "float32")), st.data())
def test_reading_equals_zarr(count: int, shard_size: int, codec: CodecName, data: st.DataObject) -> None:
    made = store_attributes((12, 8), (3, 2), keypoints=("nose", "tail"))
    attributes = made.model_copy(update={"codec": codec})
    values = np.random.default_rng(count).random((count, 2, 3, 2), np.float32) ** 8
    with TemporaryDirectory() as folder:
        images = [ImageRow(f"é{i}", f"{i}.png", "train", 1, 1, f"{i:064}") for i in range(count)]
        writer = create_store(Path(folder) / "s.zarr", images, attributes, shard_size)
        for shard in writer.pending():
            writer.write(shard, values[writer.rows(shard).start : writer.rows(shard).stop])
        store = open_store(writer.seal())
        array = zarr.open_group(store.path, mode="r")["heatmaps"]
        assert isinstance(array, zarr.Array)
        codes = np.asarray(array[...])
        np.testing.assert_array_equal(codes, encode(values, codec, 0.001))
        rows = data.draw(st.lists(st.integers(0, count - 1)))
        np.testing.assert_array_equal(store.read_codes(rows), codes[rows or slice(0)])
        assert store.keys == tuple(f"é{i}" for i in range(count))
