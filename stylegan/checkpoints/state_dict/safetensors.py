# SPDX-License-Identifier: Apache-2.0
"""Files of safetensors as plain data. Their tensors stay in the file.

Source: the format's description, github.com/huggingface/safetensors: 8 bytes with the length of a
JSON header {name: {dtype, shape, data_offsets}}, then the numbers.
"""

from __future__ import annotations

import json
import os
from typing import Any

import torch

from stylegan.checkpoints.pickle.arrays import Array, Storage, contiguous
from stylegan.checkpoints.pickle.source import File, Span
from stylegan.errors import CheckpointError

MAX_HEADER = 16 << 20  # bytes; 100,000 tensors take 10 MB
MAX_TENSORS = 100_000
MAX_NAME = 400  # characters
METADATA = "__metadata__"
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, Array]:
    """The tensors of a file, by name.

    Raises: CheckpointError if it is damaged; OSError.
    """
    file = File(path)
    try:
        return _read(file)
    except (ValueError, TypeError, KeyError, RecursionError) as e:
        file.close()
        reason = "an invalid header" if isinstance(e, (KeyError, RecursionError)) else e
        raise CheckpointError(path, f"damaged: {reason}"[:300]) from e
    except BaseException:
        file.close()
        raise
    finally:
        file.unmap()


def _read(file: File) -> dict[str, Array]:
    size = int.from_bytes(file.view[:8], "little")
    start = 8 + size
    if start > file.size:
        raise ValueError("the file ends too early; copy or download it again")
    if size > MAX_HEADER:
        raise ValueError(f"a header of more than {MAX_HEADER >> 20} MiB")
    header = json.loads(bytes(file.view[8:start]).decode("utf-8"))
    if type(header) is not dict or len(header) > MAX_TENSORS:
        raise ValueError(f"a header that is not a dictionary of at most {MAX_TENSORS:,} tensors")
    header.pop(METADATA, None)
    return {name: _array(file, start, name, entry) for name, entry in header.items()}


def _array(file: File, start: int, name: str, entry: Any) -> Array:
    """A tensor. Args: start: offset of all numbers in the file. Raises: ValueError, KeyError."""
    if len(name) > MAX_NAME or not name.isprintable():
        raise ValueError(f"an invalid name, {ascii(name)[:60]}")
    if type(entry) is not dict or type(entry["dtype"]) is not str or entry["dtype"] not in DTYPES:
        raise ValueError(f"{name} has an unknown type of numbers")
    dtype, shape, offsets = DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    if type(shape) is not list or type(offsets) is not list or len(offsets) != 2:
        raise ValueError(f"{name} has no valid shape or offsets")
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in (*shape, *offsets)):
        raise ValueError(f"{name} has no valid shape or offsets")
    first, last = offsets
    length = last - first
    if length < 0 or start + last > file.size:
        raise ValueError(f"{name}: the file ends too early; copy or download it again")
    storage = Storage(dtype, length // dtype.itemsize, Span(file, start + first, length))
    array = Array(storage, 0, shape, contiguous(shape))
    if array.numel * dtype.itemsize != length:
        raise ValueError(f"{name} has {array.numel} numbers in {length} bytes")
    return array
