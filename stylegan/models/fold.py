# SPDX-License-Identifier: Apache-2.0
"""Folding: what a generator computes from its weights alone is computed once."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch

from stylegan.models.precision import block_format
from stylegan_ops import fold_weight

T = TypeVar("T")


class Constant(Generic[T]):
    """A value that depends on parameters alone.

    It is valid without gradients, until the parameters are replaced, moved or changed in place.
    Compiled code and CUDA graphs keep the value they recorded. Copies of a module start without it.

    Args:
        value: anything but None.
        sources: the parameters.
    """

    def __init__(self, value: T, *sources: torch.Tensor) -> None:
        self.value, self.sources, self.state = value, sources, _state(sources)

    def get(self, *sources: torch.Tensor) -> T | None:
        """The value for the current parameters, or None if it is not valid."""
        if torch.is_grad_enabled():
            return None
        if not torch.compiler.is_compiling():
            if any(now is not then for now, then in zip(sources, self.sources)):
                return None
            if self.state is None or self.state != _state(sources):
                return None
        return self.value

    def __deepcopy__(self, memo: Any) -> None:
        return None

    def __reduce__(self) -> Any:
        return type(None), ()


def _state(tensors: Sequence[torch.Tensor]) -> list[Any] | None:
    """Different after every change that PyTorch counts: not after one through `.data`."""
    if any(t.is_inference() for t in tensors):
        return None  # inference tensors do not count changes
    return [(t._version, t.data_ptr(), t.device, t.dtype) for t in tensors]


def fold_constants(G: Any) -> None:
    """Compute once what depends on the weights of a generator alone, when they do not change any
    more: scaled and squared weights, weights in the layout and dtype of the convolutions, constant
    noise.

    The results are used without gradients only, and are the same except for rounding. They stand
    beside the weights, which are not changed.

    Args: G: a `Generator`.
    """
    with torch.inference_mode(False), torch.no_grad():
        for layer in G.mapping.modules():
            if hasattr(layer, "fold"):
                layer.fold(torch.float32)
        for block in G.synthesis.children():
            dtype = block.dtype_on(next(block.parameters()).device)
            for layer in block.modules():
                if hasattr(layer, "fold"):
                    layer.fold(dtype)


def fold_modulated(
    layer: Any,
    dtype: torch.dtype,
    weight_of: Callable[[], torch.Tensor] | None = None,
    **shape: Any,
) -> None:
    """Set `layer.folded`, which `modulated_conv2d` takes in place of the weight.

    Args:
        layer: module with `weight` and `folded`.
        dtype: of its images.
        weight_of: returns the weight in use. None: layer.weight itself.
        shape: up, size, flip_weight and padding of `fold_weight`.
    """
    held = layer.folded and layer.folded.get(layer.weight)
    if (held and held.stored.dtype == dtype) or layer.weight.is_inference():
        return
    layout = block_format(layer.weight.device, dtype)
    weight = layer.weight if weight_of is None else weight_of()
    folded = fold_weight(weight, dtype, memory_format=layout, **shape)
    layer.folded = Constant(folded, layer.weight)


class Watch:
    """Notices that weights of a generator were replaced, cast, moved or changed in place.

    Args: G: a `Generator`. The transform of its input may change at any time.
    """

    def __init__(self, G: Any) -> None:
        # A few times as fast as to ask every module for its weights.
        self._slots = [
            (tensors, name)
            for module in G.modules()
            for tensors in (vars(module)["_parameters"], vars(module)["_buffers"])
            for name, value in tensors.items()
            if value is not None and name != "transform"
        ]
        self._tensors, self._state = self._now()

    def changed(self) -> bool:
        """Whether they did since the last time that this was asked."""
        tensors, state = self._now()
        same = state == self._state and all(map(operator.is_, tensors, self._tensors))
        self._tensors, self._state = tensors, state
        return not same

    def _now(self) -> tuple[list[torch.Tensor], list[Any]]:
        found = [tensors[name] for tensors, name in self._slots]
        try:
            return found, [(t._version, t.data_ptr()) for t in found]
        except RuntimeError:  # inference tensors do not count changes
            return found, [t.data_ptr() for t in found]
