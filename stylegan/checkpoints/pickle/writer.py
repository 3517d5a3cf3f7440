# SPDX-License-Identifier: Apache-2.0
"""A writer of pickles: plain data, names of classes and functions, and tensors.

It imports nothing that it names, and calls no object's `__reduce__`. Tensors go from memory to the
file one by one, in the form that PyTorch gives them in `pickle.dump`: the byte string of a
torch.save file in the format before PyTorch 1.6.

Source: the opcodes as documented by the standard library's pickletools; torch/serialization.py and
torch/_utils.py (BSD licence).
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from stylegan.checkpoints.pickle.arrays import STORAGES, contiguous
from stylegan.checkpoints.pickle.torchfile import MAGIC, VERSION

PROTOCOL = 4  # every Python since 3.4 reads it
NESTED_PROTOCOL = 2  # of torch.save, and the only one that weights_only=True reads
KEY = "0"  # of the only storage in a byte string
STORAGE_NAMES = {dtype: name for name, dtype in STORAGES.items()}
SYSTEM = {
    "protocol_version": VERSION,
    "little_endian": sys.byteorder == "little",
    "type_sizes": {"short": 2, "int": 4, "long": 4},
}
TUPLES = {1: pickle.TUPLE1, 2: pickle.TUPLE2, 3: pickle.TUPLE3}


class Writable(Protocol):
    """A binary file."""

    def write(self, data: Any, /) -> Any:
        """Append bytes."""


@dataclass(frozen=True)
class Global:
    """A class or function by name."""

    module: str
    name: str


@dataclass(frozen=True, eq=False)
class Object:
    """An object that the loader makes. If one with a state comes twice, the loader makes it once.

    Attributes:
        kind: the class.
        state: set on the object; None sets nothing.
        args: the object is what the class returns for them; None makes an empty object.
    """

    kind: Global
    state: object = None
    args: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Contents:
    """A tensor's storage as a byte string."""

    tensor: torch.Tensor


@dataclass(frozen=True)
class PersistentId:
    """Stands for something outside the pickle."""

    key: object


ORDERED_DICT = Object(Global("collections", "OrderedDict"), args=())
TENSOR = Global("torch._utils", "_rebuild_tensor_v2")
PARAMETER = Global("torch._utils", "_rebuild_parameter")
STORAGE = Global("torch.storage", "_load_from_bytes")
# NumPy 1 and 2 both know these names. NumPy 1 does not know those that NumPy 2 writes.
ARRAY = Global("numpy.core.multiarray", "_reconstruct")
NDARRAY, DTYPE = Global("numpy", "ndarray"), Global("numpy", "dtype")


def dump(value: object, file: Writable, protocol: int = PROTOCOL) -> None:
    """Write a pickle.

    Args:
        value: None, bool, int, float, str, bytes, list, tuple, dict, set, Tensor, Parameter,
            ndarray of numbers, and the classes above, nested in each other. Subclasses are refused.
        file: binary file.
        protocol: written at the beginning. Bytes and tensors need 3, sets need 4.
    Raises: TypeError for a value of another type, after part of the file is written.
    """
    file.write(pickle.PROTO + bytes([protocol]))
    Pickler(file).put(value)
    file.write(pickle.STOP)


class Pickler:
    """Writes the opcodes of protocol 2, and newer ones for bytes and sets.

    Strings, names and objects with a state are written once, and then referred to by a number.
    """

    def __init__(self, file: Writable) -> None:
        self.write = file.write
        self.memo: dict[Any, int] = {}

    def put(self, value: object) -> None:
        """Write opcodes that leave `value` on the stack."""
        action = ACTIONS.get(type(value))
        if action is None:
            raise TypeError(f"a pickle of plain data cannot hold a {type(value).__name__}")
        action(self, value)

    def once(self, value: Any, opcodes: bytes = b"") -> None:
        """Write `opcodes` and keep the result under a number. For an equal value that was written
        before, write the number alone."""
        number = self.memo.get(value)
        if number is None:
            number = self.memo[value] = len(self.memo)
            self.write(opcodes + _sized(pickle.BINPUT, pickle.LONG_BINPUT, number))
        else:
            self.write(_sized(pickle.BINGET, pickle.LONG_BINGET, number))

    def text(self, value: str) -> None:
        """A string, once."""
        encoded = value.encode("utf-8", "surrogatepass")
        self.once(value, pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded)

    def global_(self, value: Global) -> None:
        """A class or function by its name, once."""
        line = f"{value.module}\n{value.name}\n".encode()
        self.once(value, pickle.GLOBAL + line)

    def integer(self, value: int) -> None:
        """An int, in its shortest form."""
        if 0 <= value < 1 << 8:
            self.write(pickle.BININT1 + bytes([value]))
        elif -(1 << 31) <= value < 1 << 31:
            self.write(pickle.BININT + struct.pack("<i", value))
        else:
            encoded = pickle.encode_long(value)
            self.write(_sized(pickle.LONG1, pickle.LONG4, len(encoded)) + encoded)

    def bytes_(self, *parts: Any) -> None:
        """One byte string of `parts`, each bytes or an array of them."""
        size = sum(len(part) for part in parts)
        if size < 1 << 32:
            self.write(_sized(pickle.SHORT_BINBYTES, pickle.BINBYTES, size))
        else:
            self.write(pickle.BINBYTES8 + struct.pack("<Q", size))
        for part in parts:
            self.write(part)

    def tuple_(self, value: tuple[Any, ...]) -> None:
        """A tuple."""
        if len(value) > 3:
            self.items(pickle.MARK, value, pickle.TUPLE)
        else:
            self.items(b"", value, TUPLES.get(len(value), pickle.EMPTY_TUPLE))

    def items(self, before: bytes, values: Iterable[object], after: bytes) -> None:
        """Values between two opcodes."""
        self.write(before)
        for value in values:
            self.put(value)
        self.write(after)

    def dict_(self, value: dict[Any, Any]) -> None:
        """A dict."""
        pairs = (part for pair in value.items() for part in pair)
        self.items(pickle.EMPTY_DICT + pickle.MARK, pairs, pickle.SETITEMS)

    def set_(self, value: set[Any]) -> None:
        """A set whose items can be sorted by their repr."""
        values = sorted(value, key=repr)  # so that the same set gives the same file
        self.items(pickle.EMPTY_SET + pickle.MARK, values, pickle.ADDITEMS)

    def object_(self, value: Object) -> None:
        """An object of a class, by its name. One with a state is written once."""
        if value in self.memo:
            self.once(value)
            return
        args = () if value.args is None else value.args
        after = pickle.NEWOBJ if value.args is None else pickle.REDUCE
        self.items(b"", (value.kind, args), after)
        if value.state is not None:
            self.items(b"", (value.state,), pickle.BUILD)
            self.once(value)

    def tensor(self, value: torch.Tensor) -> None:
        """A tensor, without a copy of its numbers."""
        storage = Object(STORAGE, args=(Contents(value.detach()),))
        shape = tuple(value.shape)
        args = (storage, 0, shape, contiguous(shape), False, ORDERED_DICT)
        self.put(Object(TENSOR, args=args))

    def parameter(self, value: torch.nn.Parameter) -> None:
        """A parameter."""
        args = (value.detach(), value.requires_grad, ORDERED_DICT)
        self.put(Object(PARAMETER, args=args))

    def array(self, value: np.ndarray) -> None:
        """An array of NumPy, little-endian."""
        data = value.astype(value.dtype.newbyteorder("<"))
        order, code = data.dtype.str[0], data.dtype.str[1:]
        dtype = Object(DTYPE, (3, order, None, None, None, -1, -1, 0), args=(code, False, True))
        state = (1, value.shape, dtype, False, data.tobytes())
        self.put(Object(ARRAY, state, args=(NDARRAY, (0,), b"b")))

    def contents(self, value: Contents) -> None:
        """A file of torch.save: magic number, version, description of the machine, id of the
        storage, list of all ids, size and numbers."""
        flat = value.tensor.cpu().contiguous().reshape(-1)
        if flat.dtype not in STORAGE_NAMES:
            raise TypeError(f"a pickle of plain data cannot hold a tensor of {flat.dtype}")
        kind = Global("torch", STORAGE_NAMES[flat.dtype])
        key = PersistentId(("storage", kind, KEY, "cpu", flat.numel(), None))
        head = io.BytesIO()
        for part in (MAGIC, VERSION, SYSTEM, key, [KEY]):
            dump(part, head, NESTED_PROTOCOL)
        head.write(struct.pack("<q", flat.numel()))
        self.bytes_(head.getvalue(), flat.view(torch.uint8).numpy())


def _sized(short: bytes, long: bytes, number: int) -> bytes:
    """A number after the opcode `short`, in one byte, or `long`, in four bytes."""
    if number < 1 << 8:
        return short + bytes([number])
    return long + struct.pack("<I", number)


ACTIONS: dict[type, Callable[[Pickler, Any], Any]] = {
    type(None): lambda p, value: p.write(pickle.NONE),
    bool: lambda p, value: p.write(pickle.NEWTRUE if value else pickle.NEWFALSE),
    int: Pickler.integer,
    float: lambda p, value: p.write(pickle.BINFLOAT + struct.pack(">d", value)),
    str: Pickler.text,
    bytes: Pickler.bytes_,
    list: lambda p, v: p.items(pickle.EMPTY_LIST + pickle.MARK, v, pickle.APPENDS),
    tuple: Pickler.tuple_,
    dict: Pickler.dict_,
    set: Pickler.set_,
    Global: Pickler.global_,
    Object: Pickler.object_,
    Contents: Pickler.contents,
    PersistentId: lambda p, value: p.items(b"", (value.key,), pickle.BINPERSID),
    np.ndarray: Pickler.array,
    torch.Tensor: Pickler.tensor,
    torch.nn.Parameter: Pickler.parameter,
}
