"""Extraction on a dask cluster that is already there: one shard a task, one network a worker."""

from functools import partial

from distributed import Client, as_completed

from pirt.errors import ParamsError
from stages.pose.extract import Work, computed, progress_over


def run_on_cluster(work: Work, scheduler: str) -> None:
    """Compute what is missing on the workers of `scheduler`, which see images, weights and store at the same paths.

    A worker that dies loses only its shards in work; dask gives them to another one, and the bytes are the same.
    """
    try:
        client = Client(scheduler, timeout="15s", set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise ParamsError(f"dask scheduler {scheduler} cannot be reached: {error}") from error
    pending = work.writer.pending()
    with client, progress_over(work, pending) as progress:
        shared = client.scatter(work, broadcast=True, hash=False)  # type: ignore[no-untyped-call]
        tasks = client.map(partial(_compute_shard), pending, work=shared, pure=False)
        for task, count in as_completed(tasks, with_results=True, loop=client.loop):  # type: ignore[no-untyped-call]
            progress.update(count)
            task.release()


def _compute_shard(shard: int, work: Work) -> int:
    for _, heatmaps in computed(work, [shard]):
        work.writer.write(shard, heatmaps)
    return len(work.writer.rows(shard))
