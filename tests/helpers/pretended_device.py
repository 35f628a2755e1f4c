"""A device that PyTorch only pretends to have.

Under FakeTensorMode its tensors have shapes and a device but no values, so whatever asks a GPU for a value fails here;
what is copied to or from it while the host waits, or mixed with tensors of the host, is refused by `NothingWaits`. A
process registers such a device for good: what uses it is a program of its own.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

DEVICE = "pretended"
_COPIES = ("_to_copy", "copy_", "_copy_from")


class NothingWaits(TorchDispatchMode):
    """Refuses operations between the host's tensors and the device's, but for copies that nobody waits for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
        copy = func.overloadpacket.__name__ in _COPIES
        # A host's single number goes along with a kernel's arguments.
        devices = {tensor.device.type for tensor in tensors if copy or tensor.dim() > 0}
        freely = (kwargs or {}).get("non_blocking") or (func.overloadpacket.__name__ == "copy_" and args[2:] == (True,))
        if len(devices) > 1 and not (copy and freely):
            raise RuntimeError(f"{func} meets {' and '.join(sorted(devices))}")
        return result


class ModuleOfDevice:
    """What PyTorch asks a device's module for."""

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        pass

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


def on_device(network: nn.Module) -> None:
    """Replace parameters and buffers by pretended ones."""
    for module in network.modules():
        for name, value in module._parameters.items():
            if value is not None:
                empty = torch.empty(value.shape, dtype=value.dtype, device=DEVICE)
                module._parameters[name] = nn.Parameter(empty, value.requires_grad)
        for name, value in module._buffers.items():
            if value is not None:
                module._buffers[name] = torch.empty(value.shape, dtype=value.dtype, device=DEVICE)


def pretend() -> None:
    """Let PyTorch take the device for one that is there."""
    _setup_privateuseone_for_python_backend(DEVICE, ModuleOfDevice())
