"""What a computation takes from MKL's vector functions, which processors of different makers round differently."""

from typing import Any, Self

from torch.autograd.profiler import profile

_NAMES = "acos acosh asin asinh atan atanh cos cosh erf erfc erfinv exp expm1 log log10 log1p log2"
_NAMES += " sin sinh sqrt tan tanh"


class MklFunctions:
    """Collects the names of such functions that are called on the CPU, also by other functions and backwards."""

    def __enter__(self) -> Self:
        # A dispatch mode would not see what PyTorch's own functions call.
        self._profile = profile(use_kineto=False).__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._profile.__exit__(*raised)
        names = {event.key.removeprefix("aten::") for event in self._profile.key_averages()}
        self.called = {name for name in names if name.removeprefix("_foreach_").rstrip("_") in _NAMES.split()}
