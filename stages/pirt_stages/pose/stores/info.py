"""The recipe of `pirt-pose info`: all about a store, in one table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pirt.heatmaps.reader import open_store, open_unsealed, partial_path
from pirt.heatmaps.schema import SkippedImage
from pirt_stages.pose.extraction.geometry import other_size

_LISTED = 10


def describe(path: Path) -> dict[str, Any]:
    """Return what is known of the store at `path`, finished or not."""
    if not path.exists() and partial_path(path).is_dir():
        path = partial_path(path)
    unfinished = path.suffix == partial_path(Path("any")).suffix
    store = open_unsealed(path) if unfinished else open_store(path)
    # By its seal: a finished store may be named like an unfinished one.
    finished = store.seal is not None
    layout = store.layout
    shard_files = [store.path / file for shard in range(layout.shards) for file in layout.files(shard)]
    done = sum(all((path / file).is_file() for file in layout.files(shard)) for shard in range(layout.shards))
    size = sum(file.stat().st_size for file in shard_files if file.is_file())
    return {
        "store": str(path),
        "finished": finished,
        "images": layout.count,
        "shards": layout.shards,
        "shards_done": done,
        "shard_size": layout.shard_size,
        "megabytes": round(size / 1e6, 3),
        "bytes_per_image": round(size / max(1, min(done * layout.shard_size, layout.count))),
        "fingerprint": store.fingerprint if finished else None,
        **store.attributes.as_table(),
    }


def as_text(facts: dict[str, Any]) -> str:
    """Lay the table out for reading, one line for each fact."""
    skipped = [SkippedImage.model_validate(image) for image in facts["skipped"]]
    shown = {**facts, "keypoints": len(facts["keypoints"]), "skipped": len(skipped)}
    width = max(map(len, shown))
    lines = [f"{name.ljust(width)}  {_plain(value)}" for name, value in shown.items()]
    sizes = other_size(facts["network"], _size(facts["trained_size"]), tuple(facts["input_size"]))
    return "\n".join([*lines, *skipped_listing(skipped), *([f"note: {sizes}"] if sizes else [])])


def _size(value: Any) -> tuple[int, int] | None:
    return None if value is None else tuple(value)


def skipped_listing(skipped: Sequence[SkippedImage]) -> list[str]:
    """Return a line for each of the first skipped images, and one for how many more there are."""
    lines = [f"  skipped {image.key}: {image.reason}" for image in skipped[:_LISTED]]
    return lines + ([f"  and {len(skipped) - _LISTED} more"] if len(skipped) > _LISTED else [])


def _plain(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
