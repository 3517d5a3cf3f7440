# SPDX-License-Identifier: Apache-2.0
"""Files of torch.save, both formats, without torch.load: pickles that name storages by an id.

Source: torch/serialization.py (BSD licence), the formats before and since PyTorch 1.6.
"""

from __future__ import annotations

import re
import struct
import zipfile
from dataclasses import dataclass
from typing import Any

import torch

from stylegan.checkpoints.pickle.arrays import DTYPES, Storage
from stylegan.checkpoints.pickle.budget import Budget, Refusal
from stylegan.checkpoints.pickle.machine import Machine
from stylegan.checkpoints.pickle.names import Global, Globals
from stylegan.checkpoints.pickle.nodes import Node
from stylegan.checkpoints.pickle.source import Encoded, File, Region, Span
from stylegan.checkpoints.pickle.unpickle import Unpickler
from stylegan.words import one_line

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001  # how a legacy file begins
MAX_HEAD = 1 << 17  # bytes of a tensor's own file before its numbers; far more than it takes
ZIP = b"PK\x03\x04"  # how a file of today's format begins
MAX_NUMEL = 1 << 40  # of a storage
MAX_DIRECTORY = 2 << 20  # bytes of a zip directory; 10,000 tensors take 1 MB
# Bytes of a number of those kinds of storages that no network has.
ITEM_SIZES = {"Untyped": 1, "ComplexFloat": 8, "ComplexDouble": 16, "QInt8": 1, "QUInt8": 1,
              "QInt32": 4, "QUInt4x2": 1, "QUInt2x4": 1}  # fmt: skip
BAD_ID = "damaged: an invalid storage id"


def read_nested(machine: Machine, data: object) -> Any:
    """The value of a legacy file that is a byte string of another pickle."""
    file, base, budget = machine.file, None, machine.budget
    if budget.nested:
        raise ValueError("a tensor nested in the file of another tensor")
    if isinstance(data, Span):
        base = data.start
        view = file.view[base : base + data.length]
    elif isinstance(data, bytes):
        budget.spend_bytes(len(data))
        view = memoryview(data)
    elif isinstance(data, Encoded):
        view = memoryview(data.read(0, min(MAX_HEAD, len(data))))
        budget.spend_text(len(view))
    else:
        raise ValueError("a tensor whose contents are not bytes")
    budget.nested = True
    value = read_legacy(Region(file, view, base), machine.names, budget, data)
    budget.nested = False
    return value


def read_legacy(
    region: Region,
    names: Globals,
    budget: Budget | None = None,
    data: Span | bytes | Encoded | None = None,
) -> Any:
    """The value of a legacy file.

    Args:
        region, names, budget: as for `Unpickler`.
        data: the whole file, if the region is only its beginning.
    Raises: CheckpointError.
    """
    reader = _Legacy(region, names, budget)
    value = reader.read_value()
    size = len(region.view if data is None else data)
    for storage in reader.read_order():
        size_each = storage.size if isinstance(storage, _Other) else storage.dtype.itemsize
        length = storage.numel * size_each
        at = reader.at + 8
        if at + length > size:
            raise Refusal("the file ends too early; copy or download it again")
        if struct.unpack_from("<q", region.view, reader.at) != (storage.numel,):
            raise Refusal("damaged: a storage whose size differs from its id")
        if region.base is not None:
            storage.data = Span(region.file, region.base + at, length)
        elif isinstance(data, bytes):
            storage.data = data[at : at + length]
        else:
            assert isinstance(data, Encoded)
            storage.data = Encoded(data.text, data.start + at, length)
        reader.at = at + length
    if any(storage.data is None for storage in reader.storages.values()):
        raise Refusal("damaged: a storage without contents")
    return value


@dataclass
class _Other(Storage):
    """Numbers of a kind that no network has. Attribute: size, bytes of a number."""

    size: int = 1


class _Legacy(Unpickler):
    """The pickles of a legacy file: magic number, version, description of the machine, value, order
    of the storages. Attribute: storages, by name."""

    def __init__(self, region: Region, names: Globals, budget: Budget | None) -> None:
        super().__init__(region, names, budget)
        self.storages: dict[str, Storage] = {}

    def read_value(self) -> Any:
        """The value, after the checks of what precedes it."""
        if self.read() != MAGIC or self.read() != VERSION:
            raise Refusal("not a file of torch.save")
        system = self.read()
        if type(system) is not dict or system.get("little_endian") is not True:
            raise Refusal("written on a big-endian machine")
        return self.read(self._storage)

    def read_order(self) -> list[Storage]:
        """The storages in the order of their contents, which follow."""
        keys, known = self.read(), self.storages
        if type(keys) is not list or not all(type(k) is str and k in known for k in keys):
            raise Refusal("damaged: the list of storages does not match them")
        return [known[key] for key in keys]

    def _storage(self, key: Any) -> Storage | Global | Node:
        if type(key) is tuple and len(key) == 4 and key[0] == "module":
            return _module_class(key[1])
        if type(key) is not tuple or len(key) != 6 or key[5] is not None:
            raise Refusal(BAD_ID)
        _, kind, name, _, numel, _ = key
        if type(kind) is not Global or not kind.unknown or not is_unknown_storage(kind.name):
            return storage_of_id(key[:5], self.storages)
        size = ITEM_SIZES.get(kind.name.rpartition(".")[2].removesuffix("Storage"))
        known = size is not None and type(name) is str and type(numel) is int
        if size is None or not known or not 0 <= numel < MAX_NUMEL:
            raise Refusal(BAD_ID)
        self.storages.setdefault(name, _Other(torch.uint8, numel, None, size))
        return Node(kind.name, unknown=True)


def _module_class(kind: Any) -> Global:
    """The class of a module, which such a file names together with its source text."""
    if type(kind) is not Global:
        raise Refusal(BAD_ID)
    return kind


def read_zip(file: File, names: Globals) -> Any:
    """The value of a file of today's format. Raises: CheckpointError."""
    entries = _entries(file)
    pickles = [name for name in entries if re.fullmatch(r"([^/]+/)?data\.pkl", name)]
    if len(pickles) != 1:
        raise Refusal("a zip archive that torch.save did not write: it has no data.pkl")
    prefix = pickles[0].removesuffix("data.pkl")
    order = entries.get(f"{prefix}byteorder")
    if order is not None and bytes(_contents(file, order, 16).read()) != b"little":
        raise Refusal("written on a big-endian machine")
    storages: dict[str, Storage] = {}

    def storage(key: Any) -> Storage | Node:
        if type(key) is not tuple or len(key) != 5:
            raise Refusal(BAD_ID)
        if type(key[1]) is Global and key[1].unknown and is_unknown_storage(key[1].name):
            return Node(key[1].name, unknown=True)
        found, name = storage_of_id(key, storages), key[2]
        entry = entries.get(f"{prefix}data/{name}")
        if entry is None:
            raise Refusal(f"damaged: storage {ascii(name)[:20]} is missing")
        found.data = _contents(file, entry)
        if found.data.length < found.numel * found.dtype.itemsize:
            raise Refusal(f"damaged: storage {ascii(name)[:20]} is shorter than its id says")
        return found

    span = _contents(file, entries[pickles[0]])
    view = file.view[span.start : span.start + span.length]
    return Unpickler(Region(file, view, span.start), names).read(storage)


def is_unknown_storage(name: str) -> bool:
    """Whether a class holds numbers of a kind that no network has, such as complex ones."""
    return re.fullmatch(r"torch\.(storage\.)?[A-Z]\w*Storage", name) is not None


def storage_of_id(key: tuple[Any, ...], storages: dict[str, Storage]) -> Storage:
    """The storage of a persistent id.

    Args:
        key: ("storage", type, name, location, numel).
        storages: by name; a new storage is added.
    Raises: Refusal.
    """
    kind, dtype, name, _, numel = key
    if type(name) is not str or len(name) > 32:
        raise Refusal(BAD_ID)
    if (
        kind != "storage"
        or type(dtype) is not Global
        or dtype.value not in DTYPES.values()
        or type(numel) is not int
        or not 0 <= numel < MAX_NUMEL
    ):
        raise Refusal(BAD_ID)
    storage = storages.setdefault(name, Storage(dtype.value, numel, None))
    if storage.dtype != dtype.value or storage.numel != numel:
        raise Refusal("damaged: a storage with two types or sizes")
    return storage


def _entries(file: File) -> dict[str, zipfile.ZipInfo]:
    """The directory of a zip archive whose files are not compressed."""
    if _directory_size(file) > MAX_DIRECTORY:
        raise Refusal(f"a zip archive whose directory takes more than {MAX_DIRECTORY >> 20} MiB")
    try:
        with zipfile.ZipFile(file.path) as archive:
            listed = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, OSError) as e:
        raise Refusal(f"damaged: {one_line(e, 100)}") from e
    entries = {info.filename: info for info in listed}
    if len(entries) < len(listed):
        raise Refusal("a zip archive with two files of the same name")
    for info in entries.values():
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise Refusal(f"a compressed file in the zip archive ({ascii(info.filename)[:60]})")
    return entries


def _directory_size(file: File) -> int:
    """The largest size of the directory that any record of the archive tells, in bytes."""
    view, size = file.view, len(file.view)
    tail = bytes(view[-(22 + (1 << 16)) :])
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        raise Refusal(
            "the directory of the zip archive is missing: the file ends too early; copy or "
            "download it again"
        )
    sizes = [struct.unpack_from("<I", tail, end + 12)[0] % 0xFFFFFFFF]
    end += size - len(tail)
    if end >= 20 and view[end - 20 : end - 16] == b"PK\x06\x07":  # a zip64 record precedes it
        for at in (end - 76, struct.unpack_from("<Q", view, end - 12)[0]):
            if 0 <= at <= size - 56 and view[at : at + 4] == b"PK\x06\x06":
                sizes += struct.unpack_from("<Q", view, at + 40)
    return max(sizes)


def _contents(file: File, info: zipfile.ZipInfo, max_size: int | None = None) -> Span:
    """The bytes of a file in the archive."""
    header = bytes(file.view[max(info.header_offset, 0) :][:30])
    if info.header_offset < 0 or len(header) < 30 or not header.startswith(ZIP):
        raise Refusal("damaged: the zip directory does not match the archive")
    start = info.header_offset + 30 + sum(struct.unpack_from("<HH", header, 26))
    too_large = max_size is not None and info.file_size > max_size
    if start + info.file_size > len(file.view) or too_large:
        raise Refusal("damaged: the zip directory does not match the archive")
    return Span(file, start, info.file_size)
