"""Extraction on a dask cluster that is already there: one shard a task, one network a worker."""

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager

from distributed import Client, as_completed
from distributed.comm.addressing import parse_address, parse_host_port
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from pirt.core.errors import ParamsError, StoreError
from pirt_stages.pose.extraction.extract import Work, computed, progress_over


@contextmanager
def on_cluster(scheduler: str) -> Iterator[Callable[[Work], None]]:
    """Connect to `scheduler` and yield what computes there what is missing of a work.

    The workers see images, weights and store at the same paths as this machine. One that dies loses only its shards
    in work; dask gives them to another one, and the bytes are the same.
    """
    with _connected(scheduler) as client:

        def run(work: Work) -> None:
            try:
                _compute(work, client)
            except (CancelledError, CommClosedError, KilledWorker) as error:
                raise StoreError(
                    f"the dask cluster {scheduler} gave up ({error}); run the same command again to go on"
                ) from error

        yield run


def _connected(scheduler: str) -> Client:
    try:
        protocol, place = parse_address(scheduler)
        # A client that cannot read its address hangs when it is thrown away.
        if protocol in ("tcp", "tls"):
            parse_host_port(place)
        return Client(scheduler, timeout="15s", set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError) as error:
        raise ParamsError(
            f"dask scheduler {scheduler!r} cannot be reached: {error}; pass its address, as tcp://host:8786"
        ) from error


def _compute(work: Work, client: Client) -> None:
    pending = work.writer.pending()
    with progress_over(work, pending) as progress:
        # Each task brings its own paths along: what is scattered would be lost with the worker that holds it.
        tasks = [client.submit(compute_shard, shard, work.part(shard), pure=False) for shard in pending]
        for task in as_completed(tasks, loop=client.loop):  # type: ignore[no-untyped-call]
            progress.update(task.result())


def compute_shard(shard: int, work: Work) -> int:
    """Compute and write one shard; return its number of images."""
    for _, heatmaps in computed(work, [shard]):
        work.writer.write(shard, heatmaps)
    return len(work.writer.rows(shard))
