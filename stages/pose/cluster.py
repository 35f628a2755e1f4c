"""Extraction on a dask cluster that is already there: one shard a task, one network a worker."""

from concurrent.futures import CancelledError

from distributed import Client, as_completed
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from pirt.errors import ParamsError, StoreError
from stages.pose.extract import Work, computed, progress_over


def run_on_cluster(work: Work, scheduler: str) -> None:
    """Compute what is missing on the workers of `scheduler`, which see images, weights and store at the same paths.

    A worker that dies loses only its shards in work; dask gives them to another one, and the bytes are the same.
    """
    try:
        client = Client(scheduler, timeout="15s", set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError) as error:
        raise ParamsError(f"dask scheduler {scheduler} cannot be reached: {error}") from error
    pending = work.writer.pending()
    with client, progress_over(work, pending) as progress:
        # Each task brings its own paths along: what is scattered would be lost with the worker that holds it.
        tasks = [client.submit(compute_shard, shard, work.part(shard), pure=False) for shard in pending]
        try:
            for task in as_completed(tasks, loop=client.loop):  # type: ignore[no-untyped-call]
                progress.update(task.result())
        except (CancelledError, CommClosedError, KilledWorker) as error:
            raise StoreError(
                f"the dask cluster {scheduler} gave up ({error}); run the same command again to go on"
            ) from error


def compute_shard(shard: int, work: Work) -> int:
    """Compute and write one shard; return its number of images."""
    for _, heatmaps in computed(work, [shard]):
        work.writer.write(shard, heatmaps)
    return len(work.writer.rows(shard))
