"""Training that gives the same weights each time on one machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def deterministic(on_gpu: bool) -> Iterator[None]:
    """Take the repeatable version of every operation; on a GPU one that has none is warned of instead."""
    filling: Any = torch.utils.deterministic
    # cuBLAS repeats its sums only with a workspace of fixed size, for which PyTorch asks.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    fill, mode = filling.fill_uninitialized_memory, torch.get_deterministic_debug_mode()
    # Filling takes time, and only helps programs that read memory before they write it.
    filling.fill_uninitialized_memory = False
    torch.use_deterministic_algorithms(True, warn_only=on_gpu)
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        filling.fill_uninitialized_memory = fill
