# SPDX-License-Identifier: Apache-2.0
"""An assembler of pickles and of files of torch.save, for files that no program writes."""

import io
import pickle
import struct
import zipfile

PROTO = b"\x80\x02"
MAGIC = 0x1950A86A20F9469CFC6C
SYSTEM = {"protocol_version": 1001, "little_endian": True}


class Raw(bytes):
    """Opcodes that leave one value on the stack."""


def dump(value):
    """The opcodes of plain data, with `Raw` anywhere in it."""
    if isinstance(value, Raw):
        return bytes(value)
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(raw)]) + raw
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogatepass")
        return b"X" + struct.pack("<I", len(raw)) + raw
    if isinstance(value, bytes):
        return b"B" + struct.pack("<I", len(value)) + value
    if isinstance(value, dict):
        return b"(" + b"".join(dump(k) + dump(v) for k, v in value.items()) + b"d"
    end = {tuple: b"t", list: b"l"}[type(value)]
    return b"(" + b"".join(map(dump, value)) + end


def pickled(value, start=PROTO):
    """A whole pickle."""
    return start + dump(value) + b"."


def named(module, name):
    """A global, by GLOBAL."""
    return Raw(f"c{module}\n{name}\n".encode())


def call(module, name, *arguments):
    """What REDUCE gives of a global."""
    return Raw(named(module, name) + dump(arguments) + b"R")


def saved(*values, start=PROTO):
    """A legacy file of torch.save whose parts are these values."""
    return b"".join(pickled(value, start) for value in values)


def storage_id(count, key="0", kind="FloatStorage", view=()):
    """What names a storage, by BINPERSID."""
    kind = named("torch", kind)
    return Raw(dump(("storage", kind, key, "cpu", count, *view)) + b"Q")


def legacy(root, keys=("0",), sizes=(4,), numbers=bytes(16), system=SYSTEM, view=(None,)):
    """A legacy file of float storages."""
    root = storage_id(sizes[0], view=view) if root is None else root
    contents = b"".join(struct.pack("<q", size) + numbers for size in sizes)
    return saved(MAGIC, 1001, system, root, list(keys)) + contents


def tensor(offset=0, shape=(4,), strides=(1,), blob=None):
    """A tensor as NVIDIA's pickles have it, on a storage of 4 numbers."""
    storage = call("torch.storage", "_load_from_bytes", blob or legacy(None))
    hooks = call("collections", "OrderedDict")
    rebuilt = (storage, offset, shape, strides, False, hooks)
    return call("torch._utils", "_rebuild_tensor_v2", *rebuilt)


def array(shape=(4,), dtype="f4", contents=bytes(16), order="<"):
    """An array of NumPy."""
    core = "numpy.core.multiarray"
    empty = call(core, "_reconstruct", named("numpy", "ndarray"), (0,), b"b")
    of = Raw(call("numpy", "dtype", dtype, False, True) + dump((3, order, None)) + b"b")
    return Raw(empty + dump((1, shape, of, False, contents)) + b"b")


def module(class_name="Generator", children=None, tensors=None, **state):
    """A module as NVIDIA's pickles have it."""
    state = {"_parameters": tensors or {}, "_buffers": {}, "_modules": children or {}, **state}
    meta = dict(type="class", version=6, module_src="1/0", class_name=class_name, state=state)
    return call("torch_utils.persistence", "_reconstruct_persistent_obj", meta)


def generator(arguments=None, synthesis=None, **tensors):
    """A pickle of a generator that has these recorded arguments and no more than they need."""
    given = dict(c_dim=0, z_dim=4, w_dim=4, img_resolution=16, img_channels=3)
    children = {"mapping": module("Mapping"), "synthesis": synthesis or module("Synthesis")}
    made = module(children=children, tensors=tensors, _init_kwargs={**given, **(arguments or {})})
    return pickled({"G_ema": made})


def zipped(entries, compression=zipfile.ZIP_STORED):
    """A zip of [(name, contents)]."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, contents in entries:
            archive.writestr(name, contents)
    return buffer.getvalue()


def torch_zip(root, numbers=bytes(16), compression=zipfile.ZIP_STORED):
    """Today's file of torch.save with one storage."""
    entries = [("a/data.pkl", pickled(root)), ("a/data/0", numbers)]
    return zipped(entries, compression)


def long_text(text, opcode=pickle.BINUNICODE8):
    """A string with 8 bytes of length."""
    return Raw(opcode + struct.pack("<Q", len(text)) + text)
