from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_stores import store_attributes

from pirt.core.manifest import ImageRow, Manifest
from pirt.heatmaps.schema import StoreAttributes
from pirt_stages.pose.extraction.writer import StoreWriter, create_store

COUNT, SHARD = 21, 8


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    splits = ("train", "query", "gallery")
    rows = tuple(
        ImageRow(f"{splits[i % 3]}/{i:04}ü.jpg", f"{i:04}ü.jpg", splits[i % 3], i // 4, i % 2, f"{i:064}")
        for i in range(COUNT)
    )
    return Manifest(rows, tmp_path)


@pytest.fixture
def heatmaps() -> NDArray[np.float32]:
    """Peaks over a noise floor, 21×17×12×8; the second image is all zero, the third out of range."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:12, :8]
    peaks = generator.uniform(0, 8, (COUNT, 17, 2, 1, 1))
    maps = np.exp(-((y - peaks[:, :, 0] * 1.5) ** 2 + (x - peaks[:, :, 1]) ** 2) / 4)
    maps = (maps * generator.uniform(0.2, 1, (COUNT, 17, 1, 1)) + generator.normal(0, 4e-4, maps.shape)).astype(
        np.float32
    )
    maps[1] = 0
    maps[2] = maps[2] * 3 - 0.5
    return maps


@pytest.fixture
def attributes() -> StoreAttributes:
    named = {"network": "small_hrnet", "batch_size": 4}
    return store_attributes((48, 32), (12, 8)).model_copy(update=named)


@pytest.fixture
def begin(manifest: Manifest, attributes: StoreAttributes) -> Callable[..., StoreWriter]:
    """Begin or resume a store, with any attribute changed by its name."""

    def create(
        path: Path, shard_size: int = SHARD, restart: bool = False, images: Any = manifest.rows, **changed: Any
    ) -> StoreWriter:
        made_by = attributes.model_copy(update=changed)
        return create_store(path, images, made_by, shard_size, restart=restart)

    return create


@pytest.fixture
def fill(heatmaps: NDArray[np.float32]) -> Callable[[StoreWriter], Path]:
    def write_and_seal(writer: StoreWriter) -> Path:
        for shard in writer.pending():
            rows = writer.rows(shard)
            writer.write(shard, heatmaps[rows.start : rows.stop])
        return writer.seal()

    return write_and_seal


@pytest.fixture
def store_path(tmp_path: Path, begin: Callable[..., StoreWriter], fill: Callable[[StoreWriter], Path]) -> Path:
    return fill(begin(tmp_path / "heatmaps.zarr"))
