# SPDX-License-Identifier: Apache-2.0
"""Dtypes and arrays of NumPy, which a pickle first creates empty and then fills by BUILD."""

from __future__ import annotations

import math
from typing import Any

import torch

from stylegan.checkpoints.pickle.arrays import (
    MAX_DIMENSIONS,
    Array,
    Storage,
    contiguous,
    storage_of,
)

MAX_NAME = 16  # characters of a dtype


class DType:
    """A dtype of NumPy.

    Attributes: dtype, the same of PyTorch; unsupported: why there is none, or None.
    """

    KINDS = {
        "f2": torch.float16,
        "f4": torch.float32,
        "f8": torch.float64,
        "i1": torch.int8,
        "i2": torch.int16,
        "i4": torch.int32,
        "i8": torch.int64,
        "u1": torch.uint8,
        "u2": torch.uint16,
        "u4": torch.uint32,
        "b1": torch.bool,
    }

    def __init__(self, name: object) -> None:
        if type(name) is not str or len(name) > MAX_NAME:
            raise ValueError(f"unsupported dtype {_ascii(name)}")
        known = self.KINDS.get(name.lstrip("<|="))
        self.unsupported = None if known else f"unsupported dtype {_ascii(name)}"
        self.dtype = known or torch.uint8

    def build(self, version: object, order: object, *rest: object) -> None:
        """Check the byte order."""
        if type(order) is not str:
            raise ValueError(f"unsupported byte order {_ascii(order)}")
        if order not in ("<", "|", "="):
            self.unsupported = f"unsupported byte order {_ascii(order)}, expected little-endian"


class NumpyArray(Array):
    """An array of NumPy, before and after BUILD. Attribute: filled, whether it has contents."""

    def __init__(self) -> None:
        self.filled = False

    def build(
        self, version: object, shape: object, dtype: object, fortran: object, data: object
    ) -> None:
        """Set shape, dtype and contents."""
        self.fill(data, dtype, shape, "F" if fortran is True else "C")

    def fill(self, data: object, dtype: object, shape: object, order: str) -> None:
        """Set contents, dtype, shape and order ("C" or "F")."""
        if type(dtype) is not DType or type(shape) is not tuple:
            raise ValueError("an array without shape or dtype")
        if dtype.unsupported:  # nothing is known of its contents
            self.unreadable, self.filled = dtype.unsupported, True
            Array.__init__(self, Storage(torch.uint8, 0, b""), 0, (0,), (1,))
            return
        if len(shape) > MAX_DIMENSIONS or any(type(size) is not int or size < 0 for size in shape):
            raise ValueError("an array with an invalid shape")
        storage = storage_of(data, dtype.dtype)
        if math.prod(shape) != storage.numel:
            raise ValueError(
                f"an array of shape {str(list(shape))[:80]} with {storage.numel} elements"
            )
        Array.__init__(self, storage, 0, shape, contiguous(shape, order))
        self.filled = True

    def read(self) -> torch.Tensor:
        """A new tensor. Raises: ValueError if its numbers cannot be read here."""
        if self.unreadable:
            raise ValueError(self.unreadable)
        return super().read()

    def transpose(self, axes: Any) -> None:
        """Permute the axes."""
        if self.unreadable:
            return
        if type(axes) not in (tuple, list) or any(type(i) is not int for i in axes):
            raise ValueError("axes that are not integers")
        if sorted(axes) != list(range(len(self.shape))):
            raise ValueError("axes that the array does not have")
        self.shape = tuple(self.shape[i] for i in axes)
        self.strides = tuple(self.strides[i] for i in axes)


def _ascii(value: object) -> str:
    """A string for a message; only the type of anything else, whose contents may be endless."""
    return ascii(value)[:20] if type(value) is str else f"a {type(value).__name__}"
