"""The network on many batches: on a CPU a batch a thread, on a GPU one batch after the other."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from pirt_stages.pose.extraction.geometry import Geometry
from pirt_stages.pose.extraction.inference import Coming, Device, NetworkSource, coming_heatmaps, load_network
from pirt_stages.pose.extraction.reading import Inputs, Made, in_order


class BatchThreads:
    """Threads that run a network, each alone on its batch; a context manager that ends them.

    When several threads share a convolution, the last bits of its sums depend on their number. A thread that convolves
    alone gives the same bits on one core and on many, and is faster as well: it waits for no other.
    """

    def __init__(self, device: Device) -> None:
        self._inner_threads = torch.get_num_threads()
        # A GPU is busy with one batch at a time.
        self._count = self._inner_threads if device == "cpu" else 1
        self._pool = ThreadPoolExecutor(
            self._count, thread_name_prefix="network", initializer=torch.set_num_threads, initargs=(1,)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        # torch hands the last number that any thread has set to threads that start later.
        torch.set_num_threads(self._inner_threads)

    def each(self, make: Callable[[Inputs], Made], batches: Iterator[Inputs]) -> Iterator[Made]:
        """Yield what `make` makes of each batch, in order."""
        return in_order(self._pool, make, batches, ahead=self._count)


class NetworkThreads(BatchThreads):
    """`BatchThreads` for the frozen network of a store."""

    def __init__(self, source: NetworkSource, geometry: Geometry) -> None:
        self._network = load_network(source)
        self._geometry = geometry
        self._flip_test = source.flip_test
        super().__init__(source.device)

    def heatmaps(self, batches: Iterator[Inputs]) -> Iterator[NDArray[np.float32]]:
        """Yield raw heatmaps B×K×Hm×Wm of each batch, in order."""
        # The thread that runs a GPU has handed it the next batch while this one waits.
        return (coming.arrived() for coming in self.each(self._heatmaps, batches))

    def _heatmaps(self, given: Inputs) -> Coming:
        return coming_heatmaps(self._network, self._geometry, given.images, given.sizes, self._flip_test)
