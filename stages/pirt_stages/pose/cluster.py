"""Extraction on a dask cluster that is already there: one shard a task, one network a worker."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from time import monotonic, sleep

from distributed import Client, as_completed
from distributed.comm.addressing import parse_address, parse_host_port
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

import pirt
from pirt.core.errors import ParamsError, StoreError
from pirt_stages.pose.extraction.extract import Work, bar_over, computed

_PATIENCE = 20.0
"""Seconds that a cluster may be without scheduler or workers, which may be restarting."""
_LOOKS = 0.5  # seconds between two looks at the cluster


@contextmanager
def on_cluster(scheduler: str) -> Iterator[Callable[[Work], None]]:
    """Connect to `scheduler` and yield a function that computes there what is missing of a work.

    The workers see images, weights and store at the same paths as this machine. One that dies only loses the shards
    that it was computing; dask gives them to another worker, and the bytes are the same.
    """
    with _silent(), _connected(scheduler) as client:
        _require_same_code(client, scheduler)

        def run(work: Work) -> None:
            try:
                _compute(work, client)
            except (CancelledError, CommClosedError, KilledWorker, TimeoutError) as error:
                reason = " ".join(str(error).split())
                raise StoreError(
                    f"the dask cluster {scheduler} gave up ({reason}); run the same command again to go on"
                ) from error

        yield run


@contextmanager
def _silent() -> Iterator[None]:
    """Keep dask's own tracebacks from the terminal; what matters is said in one line."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _require_same_code(client: Client, scheduler: str) -> None:
    """Raise unless workers are there and run the code that this process does."""
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError:
        raise ParamsError(f"the dask cluster {scheduler} has no workers; start some: dask worker {scheduler}") from None
    # An error counts as another version too: older code may lack this function.
    answers = client.run(code_sha256, on_error="return")
    others = [str(worker) for worker, answer in answers.items() if answer != code_sha256()]
    if others:
        raise StoreError(_other_code(", ".join(others)))


def _other_code(workers: str) -> str:
    return f"dask workers {workers} have another version of the code; install this one there and start them again"


# Once in a process, since every shard asks for it.
@lru_cache(maxsize=1)
def code_sha256() -> str:
    """Return one SHA-256 over the code that computes heatmaps and writes the store."""
    library, stage = Path(pirt.__file__).parent, Path(__file__).parent
    digest = hashlib.sha256()
    for folder in (library / "core", library / "heatmaps", stage):
        for file in sorted(folder.rglob("*.py")):
            digest.update(f"{file.relative_to(folder).as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _connected(scheduler: str) -> Client:
    try:
        protocol, place = parse_address(scheduler)
        # A client with an address that it cannot read hangs when it is closed.
        if protocol in ("tcp", "tls"):
            parse_host_port(place)
        return Client(scheduler, timeout="15s", set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError) as error:
        raise ParamsError(
            f"dask scheduler {scheduler!r} cannot be reached: {error}; pass its address, such as tcp://host:8786"
        ) from error


def _compute(work: Work, client: Client) -> None:
    pending = work.writer.pending()
    with bar_over(work, pending) as progress:
        # Each task brings its own paths along: what was scattered would be lost with the worker that holds it.
        ours = code_sha256()
        # Not pure: dask would answer a task that it knows from memory, without a shard being written.
        tasks = [client.submit(compute_shard, shard, work.part(shard), ours, pure=False) for shard in pending]
        # With its loop, since dask would else ask for a default client, which this one is not.
        ended = as_completed(tasks, loop=client.loop)  # type: ignore[no-untyped-call]
        answered = monotonic()
        while not ended.is_empty():  # type: ignore[no-untyped-call]
            # Without blocking: a client waits for ever for a cluster that has lost its workers.
            done = ended.next_batch(block=False)  # type: ignore[no-untyped-call]
            for task in done:
                progress.update(task.result())
            if done or _has_workers(client):
                answered = monotonic()
            elif monotonic() - answered > _PATIENCE:
                raise TimeoutError(f"for {_PATIENCE:.0f} seconds it has had no scheduler or no workers")
            sleep(0 if done else _LOOKS)


def _has_workers(client: Client) -> bool:
    return client.status == "running" and bool(client.scheduler_info(n_workers=1)["workers"])


def compute_shard(shard: int, work: Work, code: str) -> int:
    """Compute and write one shard; return its number of images. `code` is the SHA-256 of the code that is to do it."""
    # Workers may join after `_require_same_code` has asked those that were there.
    if code != code_sha256():
        raise StoreError(_other_code("that have joined since"))
    for _, heatmaps in computed(work, [shard]):
        work.writer.write(shard, heatmaps, work.taken)
    return len(work.writer.rows(shard))
