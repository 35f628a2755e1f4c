"""What a computation takes from MKL's vector functions, which processors of different makers round differently."""

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

_NAMES = "acos acosh asin asinh atan atanh cos cosh erf erfc erfinv exp expm1 log log10 log1p log2"
_NAMES += " sin sinh sqrt tan tanh"


class MklFunctions(TorchDispatchMode):
    """Collects the names of such functions that are called on the CPU, those of the backward pass too."""

    def __init__(self) -> None:
        super().__init__()
        self.called: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name.removeprefix("_foreach_").rstrip("_") in _NAMES.split():
            self.called.add(name)
        return func(*args, **(kwargs or {}))
