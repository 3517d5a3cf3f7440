# SPDX-License-Identifier: Apache-2.0
"""Tensors and arrays of a checkpoint, whose numbers stay in the file until they are read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from stylegan.checkpoints.pickle.source import Encoded, Span

# The names of PyTorch's storages and of its dtypes.
STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in STORAGES.values()}
MAX_DIMENSIONS = 8
MAX_INTEGER = 1 << 62  # bound on sizes, strides and offsets
MAX_SPREAD = 1024  # elements that may be read for each element of an array


@dataclass
class Storage:
    """A one-dimensional block of numbers.

    Attributes: data: None if it comes later in the file.
    """

    dtype: torch.dtype
    numel: int
    data: bytes | Span | Encoded | None

    def read(self, start: int, numel: int) -> torch.Tensor:
        """[numel] elements from `start`."""
        if not numel:
            return torch.empty(0, dtype=self.dtype)
        first, length = start * self.dtype.itemsize, numel * self.dtype.itemsize
        if isinstance(self.data, bytes):
            raw = bytearray(self.data[first : first + length])
        else:
            assert self.data is not None, "the storage is not filled yet"
            raw = self.data.read(first, length)
        return torch.frombuffer(raw, dtype=self.dtype, count=numel)


def storage_of(data: object, dtype: torch.dtype) -> Storage:
    """The storage of a byte string, in memory or in the file.

    Raises: ValueError if its length is not a multiple of the element size.
    """
    if not isinstance(data, (bytes, Span, Encoded)) or len(data) % dtype.itemsize:
        raise ValueError("contents whose length is not a multiple of the element size")
    return Storage(dtype, len(data) // dtype.itemsize, data)


class TensorSource(Protocol):
    """What a network's tensors are read from: `Array`, `Derived`, or a tensor that is computed."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    numel: int

    def read(self) -> torch.Tensor:
        """A new tensor."""


class Array:
    """A strided view of a storage.

    Attributes: shape, dtype, numel; unreadable: why its numbers cannot be read here, or None.

    Raises: ValueError if it exceeds the storage, or repeats elements of it, since a small file
        could then ask for much memory.
    """

    unreadable: str | None = None

    def __init__(
        self, storage: Storage, offset: int, shape: Sequence[int], strides: Sequence[int]
    ) -> None:
        integers = (offset, *shape, *strides)
        if any(type(i) is not int for i in integers) or len(shape) != len(strides):
            raise ValueError("its offset, shape and strides are not integers")
        if len(shape) > MAX_DIMENSIONS or min(integers) < 0 or max(integers) >= MAX_INTEGER:
            raise ValueError(f"an invalid shape {_short(shape)}, strides or offset {offset}")
        numel, last = 1, offset
        for size, stride in zip(shape, strides):
            numel *= size
            last += (size - 1) * stride
        beyond = math.prod(max(size, 1) for size in shape) >= MAX_INTEGER  # even if a size is 0
        if numel and last >= storage.numel or numel > storage.numel or beyond:
            raise ValueError(
                f"its shape {_short(shape)} with strides {_short(strides)} and offset {offset} "
                f"exceeds the {storage.numel} elements of its storage"
            )
        self.storage, self.offset, self.strides = storage, offset, tuple(strides)
        self.shape, self.dtype, self.numel = tuple(shape), storage.dtype, numel
        self.extent = last + 1 - offset if numel else 0
        touched = storage.numel if isinstance(storage.data, Encoded) else self.extent
        if touched > MAX_SPREAD * max(numel, 1):
            raise ValueError(f"its {numel} elements are spread over {touched}")

    def read(self) -> torch.Tensor:
        """A new tensor."""
        flat = self.storage.read(self.offset, self.extent)
        if not self.numel:
            return flat.view(self.shape)
        return flat.as_strided(self.shape, self.strides)

    def value(self) -> Array | float:
        """The number of an array without dimensions; any other array itself."""
        return self.read().item() if self.numel == 1 and not self.shape else self


class Derived:
    """An array after a function, which turns a tensor of the file into one of our networks.

    Args:
        array: the array to read.
        shape: of the result.
        function: from tensor to tensor.
    """

    def __init__(
        self,
        array: TensorSource,
        shape: Sequence[int],
        function: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        self.array, self.shape, self.function = array, tuple(shape), function
        self.dtype, self.numel = array.dtype, array.numel

    def read(self) -> torch.Tensor:
        """A new tensor."""
        return self.function(self.array.read())


def contiguous(shape: Sequence[int], order: str = "C") -> tuple[int, ...]:
    """Strides, in elements, of an array without gaps. Args: order: "C" (last axis fastest), "F"."""
    strides, step = [], 1
    for size in shape if order == "F" else reversed(shape):
        strides.append(step)
        step *= size
    return tuple(strides if order == "F" else reversed(strides))


def _short(numbers: Sequence[object]) -> str:
    return str(list(numbers))[:80]
