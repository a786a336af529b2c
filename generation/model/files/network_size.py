"""A network is made no larger than its weights.

A configuration is a few lines that may ask for any size. Layers take memory as they are made, and where a library finds
no weights for them it fills them with random numbers: a mistake in a file, or a file made to exhaust memory, would show
as a machine without any left.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from generation.errors import WeightsError
from generation.model.files.stored_weights import StoredWeights

_TIMES: Final = 4
"""What a network is made with, as a multiple of what is stored of it: shared tensors, masks, initial values."""
_SPARE_NUMBERS: Final = 64_000_000
_SPARE_TENSORS: Final = 10_000
_SIZED: Final = ("empty", "zeros", "ones", "rand", "randn", "full")


@contextlib.contextmanager
def no_larger_than(weights: Sequence[Path]) -> Iterator[None]:
    """While a network is made in the block, no tensor beyond some times what its safetensors files hold.

    Raises WeightsError within the block, before the memory is taken.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    shapes = StoredWeights(weights).shapes
    stored = sum(math.prod(shape) for shape in shapes.values())
    sized = {getattr(torch, name) for name in _SIZED}
    left = {"numbers": _TIMES * stored + _SPARE_NUMBERS, "tensors": _TIMES * len(shapes) + _SPARE_TENSORS}

    class Counting(TorchFunctionMode):
        """Counts tensors before they are made."""

        def __torch_function__(
            self,
            function: Callable[..., Any],
            types: Sequence[type],
            args: tuple[Any, ...] = (),
            kwargs: Mapping[str, Any] | None = None,
        ) -> Any:
            kwargs = kwargs or {}
            if function in sized:
                left["numbers"] -= _numbers(args, kwargs)
                left["tensors"] -= 1
                if min(left.values()) < 0:
                    raise WeightsError(
                        f"The configuration in {weights[0].parent} describes a network far larger than the weights "
                        f"there, which hold {stored} numbers in {len(shapes)} tensors. They belong to different "
                        "models, or one is damaged: fetch both again."
                    )
            return function(*args, **kwargs)

    with Counting():
        yield


def _numbers(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Elements of the tensor that a call of torch's makes: its size is one sequence, or several numbers."""
    size = args[0] if args and isinstance(args[0], Sequence) else kwargs.get("size", args)
    return math.prod(edge for edge in size if isinstance(edge, int))
