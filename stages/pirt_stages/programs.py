"""The programs' entry points: Ctrl-C ends them with one line, even while their libraries are loading."""

import os
import signal
import sys
from importlib import import_module
from types import FrameType

MODULES = {
    "data": "pirt_stages.data.cli",
    "pose": "pirt_stages.pose.cli",
    "train": "pirt_stages.train.cli",
    "eval": "pirt_stages.evaluate.cli",
    "report": "pirt_stages.report.cli",
    "export": "pirt_stages.export.cli",
    "search": "pirt_stages.search.cli",
}
_PATIENCE = 10.0
"""Seconds."""


def data() -> None:
    """Run `pirt-data`."""
    _run("data")


def pose() -> None:
    """Run `pirt-pose`."""
    _run("pose")


def train() -> None:
    """Run `pirt-train`."""
    _run("train")


def evaluate() -> None:
    """Run `pirt-eval`."""
    _run("eval")


def report() -> None:
    """Run `pirt-report`."""
    _run("report")


def export() -> None:
    """Run `pirt-export`."""
    _run("export")


def search() -> None:
    """Run `pirt-search`."""
    _run("search")


def _run(name: str) -> None:
    # Before the imports, which take seconds; Python's own handler would end them with a traceback.
    signal.signal(signal.SIGINT, _end)
    try:
        import_module(MODULES[name]).main()
    finally:
        _end_zarr()


def _end_zarr() -> None:
    """Wait for zarr's thread to end.

    zarr itself gives it a fifth of a second, too little on a machine at work, and then closes what still runs: a
    traceback below a command that ended well.
    """
    # Looked up and not imported, since most commands never load zarr.
    sync = sys.modules.get("zarr.core.sync")
    if sync is None or sync.iothread[0] is None:
        return
    # An asyncio loop may only be stopped from its own thread.
    sync.loop[0].call_soon_threadsafe(sync.loop[0].stop)
    sync.iothread[0].join(_PATIENCE)


def _end(number: int, _: FrameType | None) -> None:
    """End at once: before and after a command there is nothing to clean up."""
    os.write(2, b"Aborted!\n")
    os._exit(128 + number)
