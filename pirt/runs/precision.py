"""Whether a GPU may round float32 products to TensorFloat-32."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def tf32(*, allowed: bool) -> Iterator[None]:
    """Let convolutions and matrix products of GPUs use TF32 (10 bits of mantissa), or neither of them.

    PyTorch's default allows it for convolutions only, so that "float32" would mean one thing for them and another for
    products. CPUs have no TF32.
    """
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = allowed
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before
