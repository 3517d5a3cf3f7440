# SPDX-License-Identifier: Apache-2.0
"""The bytes of a checkpoint, and the arrays that lie in them until somebody wants them."""

import codecs
import math
import mmap
import threading
from dataclasses import dataclass

import torch

from stylegan.errors import CheckpointError

# The names of torch's storages and of its dtypes.
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
DIMENSIONS = 8  # of an array, at most
LARGEST = 1 << 62  # number in a shape or of a stride
SCATTERED = 1024  # elements that are read for each one of an array, at most
CHUNK = 1 << 18  # bytes of text that are decoded at a time


class File:
    """A file, open for as long as something of it may be read.

    Attributes: path; size; view: all of it, mapped, for parsing, until `unmap`.
    Raises: CheckpointError if it is empty, OSError if it cannot be read.
    """

    def __init__(self, path):
        self.path, self.lock = path, threading.Lock()
        self.file = open(path, "rb", buffering=0)
        try:
            self.map = mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            self.file.close()
            raise CheckpointError(path, "the file is empty") from None
        except OSError as e:
            self.file.close()
            raise OSError(e.errno, e.strerror, str(path)) from e
        self.view, self.size = memoryview(self.map), len(self.map)

    def unmap(self):
        """Parsing is over. What is read from now on does not stay in memory as pages of the map."""
        try:
            self.view.release()
            self.map.close()
        except BufferError:
            pass  # a traceback still looks at it; it goes with that

    def close(self):
        """Nothing is read any more."""
        self.unmap()
        self.file.close()

    def __del__(self):
        if hasattr(self, "file"):
            self.file.close()

    def read(self, start, length):
        """Bytes, writable. Raises: CheckpointError if the file has become shorter."""
        result = bytearray(length)
        rest = memoryview(result)
        with self.lock:
            self.file.seek(start)
            while rest:
                n = self.file.readinto(rest)
                if not n:
                    raise CheckpointError(self.path, "has become shorter since it was opened")
                rest = rest[n:]
        return result


@dataclass(frozen=True)
class Span:
    """Bytes that stay in the file."""

    file: File
    start: int
    length: int

    def __len__(self):
        return self.length

    def read(self, start=0, length=None):
        """Some of them, from the file; all without arguments."""
        length = self.length - start if length is None else length
        return self.file.read(self.start + start, length)


@dataclass(frozen=True)
class Text:
    """UTF-8 that stays in the file."""

    file: File
    start: int
    length: int

    def size(self):
        """How many bytes its characters stand for, one each, if they are such characters: those
        from 128 on are two bytes of UTF-8, the first of them one of two."""
        parts = (self._part(at) for at in range(0, self.length, CHUNK))
        return self.length - sum(part.count(b"\xc2") + part.count(b"\xc3") for part in parts)

    def encoded(self, length=None):
        """Those bytes, or about `length` of the first. Raises: CheckpointError for other text."""
        decoder, result = codecs.getincrementaldecoder("utf-8")(), bytearray()
        try:
            for at in range(0, self.length, CHUNK):
                last = at + CHUNK >= self.length
                result += decoder.decode(self._part(at), last).encode("latin1")
                if length is not None and len(result) >= length:
                    break
        except UnicodeError as e:
            raise CheckpointError(self.file.path, "bytes kept as text are no such text") from e
        return result

    def _part(self, at):
        return self.file.read(self.start + at, min(CHUNK, self.length - at))


@dataclass(frozen=True)
class Encoded:
    """Bytes that stay in the file as text, as protocol 2 writes them."""

    text: Text
    start: int
    length: int

    @property
    def file(self):
        """The `File` that they are in."""
        return self.text.file

    def __len__(self):
        return self.length

    def read(self, start=0, length=None):
        """Some of them; all without arguments."""
        start, length = self.start + start, self.length - start if length is None else length
        part = self.text.encoded(start + length)[start : start + length]
        if len(part) != length:
            raise CheckpointError(self.file.path, "bytes kept as text are no such text")
        return part


@dataclass
class Storage:
    """A one-dimensional block of numbers: elements of `dtype`, in `data`: bytes, `Span` or
    `Encoded`; None where they come later in the file."""

    dtype: torch.dtype
    numel: int
    data: object

    def read(self, start, numel):
        """[numel] elements from `start` on."""
        if not numel:
            return torch.empty(0, dtype=self.dtype)
        first, length = start * self.dtype.itemsize, numel * self.dtype.itemsize
        if isinstance(self.data, bytes):
            raw = bytearray(self.data[first : first + length])
        else:
            raw = self.data.read(first, length)
        return torch.frombuffer(raw, dtype=self.dtype, count=numel)


def storage_of(data, dtype):
    """`Storage` of bytes, here or in the file. Raises: ValueError if they are no whole number of
    elements."""
    if not isinstance(data, (bytes, Span, Encoded)) or len(data) % dtype.itemsize:
        raise ValueError("contents that are no whole number of elements")
    return Storage(dtype, len(data) // dtype.itemsize, data)


class Array:
    """A view of a storage. Attributes: shape, dtype, numel.

    Raises: ValueError if it does not lie within the storage, or repeats elements of it, so that a
        small file may ask for large memory.
    """

    def __init__(self, storage, offset, shape, strides):
        integers = (offset, *shape, *strides)
        if any(type(i) is not int for i in integers) or len(shape) != len(strides):
            raise ValueError("its offset, shape and strides are not integers")
        if len(shape) > DIMENSIONS or min(integers) < 0 or max(integers) >= LARGEST:
            raise ValueError(f"its shape {_short(shape)}, strides or offset {offset} cannot be")
        numel, last = 1, offset
        for size, stride in zip(shape, strides):
            numel *= size
            last += (size - 1) * stride
        beyond = math.prod(max(size, 1) for size in shape) >= LARGEST  # around a size of 0
        if numel and last >= storage.numel or numel > storage.numel or beyond:
            raise ValueError(
                f"its shape {_short(shape)} with strides {_short(strides)} from {offset} on passes "
                f"the {storage.numel} elements that there are"
            )
        self.storage, self.offset, self.strides = storage, offset, tuple(strides)
        self.shape, self.dtype, self.numel = tuple(shape), storage.dtype, numel
        self.extent = last + 1 - offset if numel else 0
        touched = storage.numel if isinstance(storage.data, Encoded) else self.extent
        if touched > SCATTERED * max(numel, 1):
            raise ValueError(f"its {numel} elements lie scattered among {touched}")

    def read(self):
        """A tensor of its own."""
        flat = self.storage.read(self.offset, self.extent)
        if not self.numel:
            return flat.view(self.shape)
        return flat.as_strided(self.shape, self.strides)

    def value(self):
        """Its number, where it has a single one; else itself."""
        return self.read().item() if self.numel == 1 and not self.shape else self


class Derived:
    """An array after a function: what a name of ours gets from one of theirs.

    Args:
        array: `Array` or `Derived`.
        shape: of the result.
        function: from tensor to tensor.
    """

    def __init__(self, array, shape, function):
        self.array, self.shape, self.function = array, tuple(shape), function
        self.dtype, self.numel = array.dtype, array.numel

    def read(self):
        """A tensor."""
        return self.function(self.array.read())


def contiguous(shape, order="C"):
    """Strides, in elements, of an array without gaps, the last axis fastest, or the first ("F")."""
    strides, step = [], 1
    for size in shape if order == "F" else reversed(shape):
        strides.append(step)
        step *= size
    return tuple(strides if order == "F" else reversed(strides))


def _short(numbers):
    return str(list(numbers))[:80]
