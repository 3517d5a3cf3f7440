# SPDX-License-Identifier: Apache-2.0
"""Files of torch.save, both kinds, without torch.load: pickles that name storages by an id.

Source: torch/serialization.py (BSD licence), the formats before and since PyTorch 1.6.
"""

import re
import struct
import zipfile

from stylegan.checkpoints.pickle.allowed import Global
from stylegan.checkpoints.pickle.machine import Budget, Refusal
from stylegan.checkpoints.pickle.source import DTYPES, Encoded, Span, Storage
from stylegan.checkpoints.pickle.unpickle import unpickle
from stylegan.words import one_line

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001  # how a legacy file begins
HEAD = 1 << 17  # bytes of a tensor's own file that lie before its numbers, rather too much
ZIP = b"PK\x03\x04"  # how one of today's format begins
DIRECTORY = 2 << 20  # bytes of the list of a zip's files; 10,000 tensors take 1 MB


def read_nested(machine, data):
    """What is in a legacy file that is a byte string of another pickle."""
    file, base, budget = machine.file, None, machine.budget
    if budget.nested:
        raise ValueError("a tensor that is a file within the file of another")
    if isinstance(data, Span):
        base = data.start
        view = file.view[base : base + data.length]
    elif isinstance(data, bytes):
        machine.spend_bytes(len(data))
        view = memoryview(data)
    elif isinstance(data, Encoded):
        view = memoryview(data.read(0, min(HEAD, len(data))))
        machine.spend_text(len(view))
    else:
        raise ValueError("something else than bytes in a tensor")
    budget.nested = True
    value = read_legacy(file, view, base, budget, data)
    budget.nested = False
    return value


def read_legacy(file, view, base=0, budget=None, data=None):
    """The value in a legacy file.

    Args:
        file, view, base, budget: as for `unpickle`.
        data: where the view is not a part of the file as it is: the bytes, or the `Encoded`, that
            it is the beginning of.
    Raises: CheckpointError.
    """
    budget = budget or Budget()
    at, size, storages = 0, len(view if data is None else data), {}

    def next_value(persistent=None):
        nonlocal at
        inside = None if base is None else base + at
        value, used = unpickle(file, view[at:], inside, persistent, budget, at)
        at += used
        return value

    def storage(key):
        if type(key) is not tuple or len(key) != 6 or key[5] is not None:
            raise Refusal("damaged: an id of no storage")
        return storage_of_id(key[:5], storages)

    if next_value() != MAGIC or next_value() != VERSION:
        raise Refusal("no file of torch.save")
    system = next_value()
    if type(system) is not dict or system.get("little_endian") is not True:
        raise Refusal("written on a big-endian machine")
    value, keys = next_value(storage), next_value()
    if type(keys) is not list or not all(type(k) is str and k in storages for k in keys):
        raise Refusal("damaged: a list of storages that does not fit them")
    for key in keys:
        pending = storages[key]
        length = pending.numel * pending.dtype.itemsize
        if at + 8 + length > size:
            raise Refusal("the file ends in the middle")
        if struct.unpack_from("<q", view, at) != (pending.numel,):
            raise Refusal("damaged: a storage of another size than announced")
        start = at + 8
        if base is not None:
            pending.data = Span(file, base + start, length)
        elif isinstance(data, bytes):
            pending.data = data[start : start + length]
        else:
            pending.data = Encoded(data.text, data.start + start, length)
        at = start + length
    if any(pending.data is None for pending in storages.values()):
        raise Refusal("damaged: a storage without contents")
    return value


def read_zip(file):
    """The value in a file of today's format. Raises: CheckpointError."""
    entries = _entries(file)
    pickles = [name for name in entries if re.fullmatch(r"([^/]+/)?data\.pkl", name)]
    if len(pickles) != 1:
        raise Refusal("a zip that is no file of torch.save: it has no data.pkl")
    prefix = pickles[0].removesuffix("data.pkl")
    order = entries.get(f"{prefix}byteorder")
    if order is not None and bytes(_contents(file, order, 16).read()) != b"little":
        raise Refusal("written on a big-endian machine")
    storages = {}

    def storage(key):
        if type(key) is not tuple or len(key) != 5:
            raise Refusal("damaged: an id of no storage")
        pending = storage_of_id(key, storages)
        entry = entries.get(f"{prefix}data/{key[2]}")
        if entry is None:
            raise Refusal(f"damaged: no storage {ascii(key[2])[:20]} in the file")
        pending.data = _contents(file, entry)
        if pending.data.length < pending.numel * pending.dtype.itemsize:
            raise Refusal(f"damaged: storage {ascii(key[2])[:20]} is shorter than announced")
        return pending

    span = _contents(file, entries[pickles[0]])
    view = file.view[span.start : span.start + span.length]
    return unpickle(file, view, span.start, storage)[0]


def storage_of_id(key, storages):
    """The `Storage` of a persistent id ("storage", type, key, location, numel), kept in `storages`
    by key. Raises: Refusal."""
    kind, dtype, name, _, numel = key
    if type(name) is not str or len(name) > 32:
        raise Refusal("damaged: an id of no storage")
    if (
        kind != "storage"
        or type(dtype) is not Global
        or dtype.value not in DTYPES.values()
        or type(numel) is not int
        or not 0 <= numel < 1 << 40
    ):
        raise Refusal("damaged: an id of no storage")
    storage = storages.setdefault(name, Storage(dtype.value, numel, None))
    if storage.dtype != dtype.value or storage.numel != numel:
        raise Refusal("damaged: a storage of two kinds")
    return storage


def _entries(file):
    """{name: ZipInfo}, none of them compressed."""
    view, size = file.view, len(file.view)
    tail = bytes(view[-(22 + (1 << 16)) :])
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        raise Refusal("the file ends in the middle: the list of its contents is missing")
    sizes = [struct.unpack_from("<I", tail, end + 12)[0] % 0xFFFFFFFF]
    end += size - len(tail)
    if end >= 20 and view[end - 20 : end - 16] == b"PK\x06\x07":  # a longer record before it
        for at in (end - 76, struct.unpack_from("<Q", view, end - 12)[0]):
            if 0 <= at <= size - 56 and view[at : at + 4] == b"PK\x06\x06":
                sizes += struct.unpack_from("<Q", view, at + 40)
    if max(sizes) > DIRECTORY:
        raise Refusal(f"a zip whose list of files takes more than {DIRECTORY >> 20} MiB")
    try:
        with zipfile.ZipFile(file.path) as archive:
            listed = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, OSError) as e:
        raise Refusal(f"damaged: {one_line(e, 100)}") from e
    entries = {info.filename: info for info in listed}
    if len(entries) < len(listed):
        raise Refusal("a zip that has two files of the same name")
    for info in entries.values():
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise Refusal(f"a compressed file within the zip ({ascii(info.filename)[:60]})")
    return entries


def _contents(file, info, most=None):
    """`Span` of a file within the zip."""
    header = bytes(file.view[max(info.header_offset, 0) :][:30])
    if info.header_offset < 0 or len(header) < 30 or not header.startswith(ZIP):
        raise Refusal("damaged: the zip's list of files does not fit it")
    start = info.header_offset + 30 + sum(struct.unpack_from("<HH", header, 26))
    if start + info.file_size > len(file.view) or most is not None and info.file_size > most:
        raise Refusal("damaged: the zip's list of files does not fit it")
    return Span(file, start, info.file_size)
