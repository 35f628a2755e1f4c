"""Images with their cached heatmaps."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypedDict, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pirt.core.errors import DataError
from pirt.core.images import read_image
from pirt.core.keypoints import COCO_KEYPOINTS
from pirt.core.manifest import ImageRow, Manifest, Rows
from pirt.heatmaps.codec import Codes
from pirt.machine import cores
from pirt.runs.cache import HeatmapCache
from pirt.runs.transforms import EvalTransform, Pixels

_CPU = torch.device("cpu")


class Draw(NamedTuple):
    """One image of an epoch, and the seed of whatever chance its augmentation needs."""

    image: int
    seed: tuple[int, ...]


class Item(TypedDict):
    """One image as the model takes it."""

    image: Tensor
    """`3×Hi×Wi` float32, normalised; `Hi×Wi×3` uint8 on the way to `batches_of`."""
    heatmaps: Tensor
    """`K×Hm×Wm` float32 in [0, 1]; `17×1×1` zeros without a cache."""
    label: int
    """Identity, 0…P−1 in the order of the pids."""
    index: int
    """Place in `rows`."""


Batch = dict[str, Tensor]
"""Items of B images, each entry with B rows."""


class PersonDataset(Dataset[Item]):
    """The images of `rows`, each with its heatmaps from `cache` (which holds them in the same order).

    An item depends on what it is asked for alone (an index, or a `Draw` with its seed), so any number of
    loader workers gives the same items. Without `cache` the heatmaps are zeros, for models that ignore them.
    """

    def __init__(
        self,
        manifest: Manifest,
        rows: Sequence[ImageRow],
        cache: HeatmapCache | None,
        transform: EvalTransform,
    ) -> None:
        # Columns, which loader processes share: they would copy every row's objects by counting references to them.
        self.manifest, self.rows, self.cache, self.transform = manifest, Rows.of(rows), cache, transform
        pids, self.labels = np.unique(self.rows.pids, return_inverse=True)
        self.num_classes = len(pids)
        self._pixels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, draw: int | Draw) -> Item:
        item = self._coded(draw)
        item["image"] = self.transform.normalise(item["image"])
        item["heatmaps"] = self._decoder(_CPU)(item["heatmaps"])
        return item

    def __getitems__(self, draws: Sequence[int | Draw]) -> list[Item]:
        """Return items for the loader: uint8 pixels and codes, a quarter of the bytes that the model reads."""
        # PyTorch's loader asks for whole batches by this method where a data set has it.
        return [self._coded(draw) for draw in draws]

    def finisher(self, device: torch.device) -> Callable[[Batch], Batch]:
        """Return what moves a batch of the loader to `device`, normalises its images and decodes its heatmaps there."""
        normalise, decode = self.transform.normaliser(device), self._decoder(device)

        def finish(batch: Batch) -> Batch:
            moved = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
            return moved | {"image": normalise(moved["image"]), "heatmaps": decode(moved["heatmaps"])}

        return finish

    def _decoder(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        return Tensor.float if self.cache is None else self.cache.decoder(device)

    def _coded(self, draw: int | Draw) -> Item:
        index, seed = (draw, ()) if isinstance(draw, int) else draw
        image, codes = self.transform.augment(self._image(index), self._codes(index), seed)
        return Item(
            image=torch.from_numpy(image),
            heatmaps=torch.from_numpy(np.ascontiguousarray(codes)),
            label=int(self.labels[index]),
            index=index,
        )

    @property
    def pixel_bytes(self) -> int:
        """How much memory `hold_pixels` would take."""
        return len(self) * self._image_bytes

    @property
    def item_bytes(self) -> int:
        """How much memory an item of the loader takes."""
        return self._image_bytes + self._codes(0).nbytes

    @property
    def _image_bytes(self) -> int:
        height, width = self.transform.image_size
        return height * width * 3

    def hold_pixels(self) -> None:
        """Decode and resize every image once, into memory that loader workers share."""
        pixels = torch.empty((len(self), *self.transform.image_size, 3), dtype=torch.uint8)
        pixels.share_memory_()  # type: ignore[no-untyped-call]  # torch has no types for it
        target = pixels.numpy()

        def decode(index: int) -> None:
            target[index] = self._image(index)

        # Threads, since Pillow decodes and resizes outside of Python's lock.
        with ThreadPoolExecutor(cores()) as pool:
            for _ in pool.map(decode, range(len(self))):
                pass
        self._pixels = pixels

    def _image(self, index: int) -> Pixels:
        if self._pixels is not None:
            held: Pixels = self._pixels[index].numpy()
            return held
        return self.transform.resize(read_image(self.manifest.image_path(self.rows[index])))

    def _codes(self, index: int) -> Codes:
        if self.cache is None:
            # As small as can be: nobody looks at them, but batches carry them.
            return np.zeros((len(COCO_KEYPOINTS), 1, 1), np.float32)
        codes: Codes = self.cache.codes[index].numpy()
        return codes


def batches_of(loader: "DataLoader[Item]", device: torch.device = _CPU) -> Iterator[Batch]:
    """Yield the batches of a loader of a `PersonDataset` on `device`, images normalised and heatmaps decoded there.

    An image that cannot be read is one line, from loader processes too.
    """
    dataset = cast(PersonDataset, loader.dataset)
    try:
        finish = dataset.finisher(device)
        for batch in loader:
            yield finish(batch)
        return
    except DataError as error:
        # From a loader process the message comes at the end of that process's traceback.
        told = str(error).rsplit(f"{DataError.__name__}: ", 1)[-1].strip()
    # Not from the first error, whose traceback would hold the loader's processes after all else has let go of them.
    raise DataError(told)
