"""A dask cluster that fails is told in one line, soon, and without dask's own tracebacks."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from distributed import LocalCluster

from pirt.core.errors import ParamsError, PirtError, StoreError
from pirt_stages.pose import cluster

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


class ThreeShards:
    """A work of three shards that take a while."""

    writer = property(lambda self: self)

    def pending(self) -> tuple[int, ...]:
        return (0, 1, 2)

    def part(self, shard: int) -> int:
        return shard


class Counted:
    """Stands for the bar: counts the images."""

    images = 0

    def update(self, images: int) -> None:
        self.images += images


def shard_of_one(shard: int, work: int, code: str) -> int:
    time.sleep(0.7)
    return 1


@pytest.fixture
def bar(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    monkeypatch.setattr(cluster, "_PATIENCE", 2.0)
    monkeypatch.setattr(cluster, "bar_over", lambda *_: nullcontext(counted))
    monkeypatch.setattr(cluster, "compute_shard", shard_of_one)
    return counted


@pytest.fixture
def local() -> Iterator[Callable[[int], Any]]:
    """Start a cluster of so many workers within this process."""
    started = []

    def start(workers: int) -> Any:
        settings = {"processes": False, "dashboard_address": None, "host": "127.0.0.1", "protocol": "tcp"}
        started.append(LocalCluster(n_workers=workers, threads_per_worker=1, **settings))
        return started[-1]

    yield start
    for one in started:
        one.close()


def compute(address: str, meanwhile: Callable[[], object] = lambda: None) -> None:
    with cluster.on_cluster(address) as run:
        timer = threading.Timer(0.3, meanwhile)
        timer.start()
        run(ThreeShards())  # type: ignore[arg-type]
        timer.join()


def test_all_shards_are_computed(bar: Counted, local: Callable[[int], Any]) -> None:
    compute(local(1).scheduler_address)
    assert bar.images == 3


def test_a_cluster_without_workers_is_said(bar: Counted, local: Callable[[int], Any]) -> None:
    with pytest.raises(ParamsError, match=r"has no workers; start some: dask worker tcp://"):
        compute(local(0).scheduler_address)


def test_workers_of_another_version_are_named(
    bar: Counted, local: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "code_sha256", lambda: str(time.monotonic_ns()))
    with pytest.raises(StoreError, match=r"dask workers tcp://\S+ have another version of the code; install this one"):
        compute(local(1).scheduler_address)
    assert bar.images == 0


def test_a_worker_that_joins_with_another_version_computes_nothing() -> None:
    with pytest.raises(StoreError, match="that have joined since have another version of the code"):
        cluster.compute_shard(0, None, "another")  # type: ignore[arg-type]


@pytest.mark.parametrize("lost", ["workers", "scheduler"])
def test_a_cluster_that_dies_is_one_line(
    bar: Counted, local: Callable[[int], Any], capfd: pytest.CaptureFixture[str], lost: str
) -> None:
    made = local(1)
    began = time.monotonic()
    with pytest.raises(PirtError, match=r"gave up .*; run the same command again to go on") as told:
        compute(made.scheduler_address, made.close if lost == "scheduler" else lambda: made.scale(0))
    assert "\n" not in str(told.value)
    assert time.monotonic() - began < 30
    assert "Traceback" not in capfd.readouterr().err
