# SPDX-License-Identifier: Apache-2.0
"""The globals that checkpoints may name, and the plain data that stands for each.

Nothing is ever imported by the name in a file: either a function below answers for it, or it is no
more than a name.
"""

import re
from dataclasses import dataclass

from stylegan.checkpoints.pickle.nodes import DType, Node, NumpyArray
from stylegan.checkpoints.pickle.source import (
    DTYPES,
    STORAGES,
    Array,
    Encoded,
    Storage,
    Text,
    storage_of,
)

KEYS = (str, int, bool, bytes, type(None))  # what may be a key: hashed in no time, and no integer
KEY_BITS = 60  # of more bits than this, since many of those can have the same hash
# Classes of modules that were pickled without source text (R3GAN and others): names alone.
MODULES = re.compile(r"training\.(networks|augment)\w*|R3GAN(\.\w+)*|torch\.nn\.modules\.\w+")


@dataclass(frozen=True)
class Global:
    """A name that is known. Attributes: reduce, what calling it gives, a function of the machine
    and the arguments, or None; new, what an empty object of it is, or None; value, what it stands
    for by itself."""

    name: str
    reduce: object = None
    new: object = None
    value: object = None

    def __str__(self):
        return self.name


def find_global(module, name):
    """The `Global` of that name, or None."""
    if (module, name) in ALLOWED:
        return ALLOWED[module, name]
    if MODULES.fullmatch(module) and re.fullmatch(r"[A-Z]\w*", name) and len(module + name) < 100:
        kind = f"{module}.{name}"
        return Global(kind, new=lambda: Node(kind))
    return None


def is_key(value):
    """Whether it may be a key of a dict, or in a set."""
    return type(value) in KEYS and (type(value) is not int or value.bit_length() <= KEY_BITS)


def persistent_object(machine, meta):
    """An object of the NVIDIA line: its attributes, without the source text that came with them."""
    if type(meta) is not dict or meta.get("type") != "class":
        raise ValueError("damaged: an object that is not described by a dictionary")
    kind, state, code = (meta.get(key) for key in ("class_name", "state", "module_src"))
    if type(kind) is not str or not kind[:101].isidentifier() or type(state) is not dict:
        raise ValueError("damaged: an object without class_name or state")
    return Node(kind[:100], state, len(code) if type(code) is str else getattr(code, "length", 0))


def dictionary(machine, items=()):
    """An empty dict, or one of pairs."""
    if type(items) not in (list, tuple, dict):
        raise ValueError("a dictionary of something else than pairs")
    machine.spend(len(items))
    result = {}
    for key, value in items.items() if type(items) is dict else items:
        if not is_key(key):
            raise ValueError("a key that is no string or integer")
        result[key] = value
    return result


def scalars(machine, items=()):
    """A set."""
    if type(items) not in (list, tuple) or not all(map(is_key, items)):
        raise ValueError("a set of something else than strings and integers")
    machine.spend(len(items))
    return set(items)


def encode(machine, text, encoding):
    """Bytes, as protocol 2 writes them."""
    if encoding != "latin1":
        raise ValueError("an encoding other than latin1")
    if isinstance(text, Text):
        machine.spend_text(text.length)
        return Encoded(text, 0, text.size())
    if type(text) is not str:
        raise ValueError("damaged: bytes of something else than text")
    machine.spend_bytes(len(text))
    return text.encode("latin1")


def tensor(machine, storage, offset, shape, strides, requires_grad, hooks, metadata=None):
    """An `Array`."""
    if type(storage) is not Storage:
        raise ValueError("damaged: a tensor without storage")
    if type(shape) is not tuple or type(strides) is not tuple:
        raise ValueError("damaged: a tensor without shape or strides")
    return Array(storage, offset, shape, strides)


def parameter(machine, data, requires_grad, hooks, attributes=None):
    """The tensor itself, without attributes that somebody gave it."""
    if not isinstance(data, Array):
        raise ValueError("damaged: a parameter without a tensor")
    return data


def nested_storage(machine, data):
    """The storage in a second file within the file."""
    from stylegan.checkpoints.pickle.torchfile import read_nested

    storage = read_nested(machine, data)
    if type(storage) is not Storage:
        raise ValueError("something else than a storage inside a tensor")
    return storage


def dtype(machine, name, align=False, copy=True):
    """`DType`."""
    return DType(name)


def empty_array(machine, kind, shape, typecode):
    """`NumpyArray` that BUILD completes."""
    if type(kind) is not Global or kind.name != "numpy.ndarray":
        raise ValueError("an array of another class than numpy.ndarray")
    array = NumpyArray()
    machine.unbuilt.append(array)
    return array


def array_of_buffer(machine, data, dtype, shape, order, axes=None):
    """`NumpyArray`, as protocol 5 writes it; with axes, transposed by them."""
    if order not in (("C", "F") if axes is None else ("K",)):
        raise ValueError("an order other than C, F or K")
    array = NumpyArray()
    array.fill(data, dtype, shape, "F" if order == "F" else "C")
    if axes is not None:
        array.transpose(axes)
    return array


def scalar(machine, dtype, data):
    """A Python number."""
    if type(dtype) is not DType:
        raise ValueError("damaged: a number without dtype")
    storage = storage_of(data, dtype.dtype)
    if storage.numel != 1:
        raise ValueError("damaged: a number of several elements")
    return storage.read(0, 1).item()


def path(machine, *parts):
    """A string."""
    if len(parts) > 64 or any(type(part) is not str or len(part) > 1000 for part in parts):
        raise ValueError("damaged: a path of something else than names")
    return "/".join(parts)


def size(machine, shape=()):
    """A tuple."""
    if type(shape) not in (list, tuple):
        raise ValueError("a size that is no list")
    machine.spend(len(shape))
    return tuple(shape)


def _table():
    """{(module, name): Global}."""
    entries = {
        "torch_utils.persistence": {"_reconstruct_persistent_obj": {"reduce": persistent_object}},
        "dnnlib.util": {"EasyDict": {"reduce": dictionary, "new": dict}},
        "dnnlib.tflib.network": {"Network": {"new": lambda: Node("dnnlib.tflib.network.Network")}},
        "collections": {
            "OrderedDict": {"reduce": dictionary, "new": dict},
            "defaultdict": {"reduce": lambda machine, factory=None: {}},
            "Counter": {"reduce": dictionary},
        },
        "pathlib": {f"{kind}Path": {"reduce": path} for kind in ("", "Posix", "Windows")},
        "argparse": {"Namespace": {"new": lambda: Node("argparse.Namespace")}},
        "_codecs": {"encode": {"reduce": encode}},
        "torch._utils": {
            "_rebuild_tensor_v2": {"reduce": tensor},
            "_rebuild_parameter": {"reduce": parameter},
            "_rebuild_parameter_with_state": {"reduce": parameter},
        },
        "torch.storage": {"_load_from_bytes": {"reduce": nested_storage}},
        "torch": {
            "Size": {"reduce": size},
            "device": {"reduce": lambda machine, *where: None},
            **{name: {"value": dtype} for name, dtype in STORAGES.items()},
            **{name: {"value": dtype} for name, dtype in DTYPES.items()},
        },
        "numpy": {"ndarray": {}, "dtype": {"reduce": dtype}},
    }
    for module in ("builtins", "__builtin__"):
        entries[module] = {
            "set": {"reduce": scalars},
            "bytes": {"reduce": lambda machine: b""},
            **{name: {} for name in ("dict", "list", "int", "float")},  # of a defaultdict
        }
    for core in ("numpy.core", "numpy._core"):
        entries[f"{core}.multiarray"] = {
            "scalar": {"reduce": scalar},
            "_reconstruct": {"reduce": empty_array},
        }
        entries[f"{core}.numeric"] = {"_frombuffer": {"reduce": array_of_buffer}}
    return {
        (module, name): Global(f"{module}.{name}", **how)
        for module, names in entries.items()
        for name, how in names.items()
    }


ALLOWED = _table()
