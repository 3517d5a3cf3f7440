# SPDX-License-Identifier: Apache-2.0
"""The globals that checkpoints may name, and the plain data that stands for each.

Nothing is ever imported by a name in a file. Either a function below computes plain data for it, or
it remains a name. Each of these functions takes the machine and the arguments in the file.
"""

from __future__ import annotations

import re
from typing import Any

import torch

from stylegan.checkpoints.pickle.arrays import DTYPES, STORAGES, Array, Storage, storage_of
from stylegan.checkpoints.pickle.keys import as_item, as_key
from stylegan.checkpoints.pickle.machine import Machine
from stylegan.checkpoints.pickle.names import Global, Globals
from stylegan.checkpoints.pickle.nodes import Node
from stylegan.checkpoints.pickle.numpy_state import DType, NumpyArray
from stylegan.checkpoints.pickle.source import Encoded, Text
from stylegan.checkpoints.pickle.torchfile import is_unknown_storage, read_nested

MAX_PARTS, MAX_PART = 64, 1000  # names in a path, and characters of each
# Modules that were pickled without source text, as in R3GAN: their classes are names alone.
MODULES = re.compile(r"training\.(networks|augment)\w*|R3GAN(\.\w+)*|torch\.nn\.modules\.\w+")


def persistent_object(machine: Machine, meta: Any) -> Node:
    """An object of NVIDIA's PyTorch line: its attributes, without its source text."""
    if type(meta) is not dict or meta.get("type") != "class":
        raise ValueError("damaged: an object that is not described by a dictionary")
    kind, state, code = (meta.get(key) for key in ("class_name", "state", "module_src"))
    if type(kind) is not str or not kind[:101].isidentifier() or type(state) is not dict:
        raise ValueError("damaged: an object without class_name or state")
    return Node(kind[:100], state, len(code) if type(code) is str else getattr(code, "length", 0))


def dictionary(machine: Machine, items: Any = ()) -> dict[Any, Any]:
    """A dict: empty, of pairs, or a copy."""
    if type(items) not in (list, tuple, dict):
        raise ValueError("a dictionary of something other than pairs")
    machine.budget.spend_opcodes(len(items))
    result = {}
    for key, value in items.items() if type(items) is dict else items:
        result[as_key(key)] = value
    return result


def scalars(machine: Machine, items: Any = ()) -> set[Any]:
    """A set."""
    if type(items) not in (list, tuple):
        raise ValueError("a set of something other than strings and integers")
    machine.budget.spend_opcodes(len(items))
    return set(map(as_item, items))


def encode(machine: Machine, text: Any, encoding: Any) -> bytes | Encoded:
    """Bytes, which protocol 2 writes as text."""
    if encoding != "latin1":
        raise ValueError("an encoding other than latin1")
    if isinstance(text, Text):
        machine.budget.spend_text(text.length)
        return Encoded(text, 0, text.size())
    if type(text) is not str:
        raise ValueError("damaged: bytes of something other than text")
    machine.budget.spend_bytes(len(text))
    return text.encode("latin1")


def tensor(
    machine: Machine,
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    requires_grad: Any = False,
    hooks: Any = None,
    metadata: Any = None,
) -> Array | Node:
    """A tensor. It is inert if its numbers are of a kind that no network has."""
    if isinstance(storage, Node) and is_unknown_storage(storage.kind):
        return Node("torch.Tensor", unknown=True)
    if type(storage) is not Storage:
        raise ValueError("damaged: a tensor without storage")
    if type(shape) is not tuple or type(strides) is not tuple:
        raise ValueError("damaged: a tensor without shape or strides")
    return Array(storage, offset, shape, strides)


def parameter(
    machine: Machine, data: Any, requires_grad: Any, hooks: Any, attributes: Any = None
) -> Array | Node:
    """The tensor of a parameter, without further attributes."""
    if isinstance(data, Node) and data.kind == "torch.Tensor":
        return data
    if not isinstance(data, Array):
        raise ValueError("damaged: a parameter without a tensor")
    return data


def nested_storage(machine: Machine, data: Any) -> Storage | Node:
    """The storage in a file of torch.save that is a byte string. It is inert if its numbers are of
    a kind that no network has."""
    storage = read_nested(machine, data)
    inert = isinstance(storage, Node) and is_unknown_storage(storage.kind)
    if type(storage) is not Storage and not inert:
        raise ValueError("something other than a storage inside a tensor")
    return storage


def dtype(machine: Machine, name: Any, align: Any = False, copy: Any = True) -> DType:
    """A dtype of NumPy."""
    return DType(name)


def empty_array(machine: Machine, kind: Any, shape: Any, typecode: Any) -> NumpyArray:
    """An array that BUILD fills."""
    if type(kind) is not Global or kind.name != "numpy.ndarray":
        raise ValueError("an array of a class other than numpy.ndarray")
    array = NumpyArray()
    machine.arrays.append(array)
    return array


def array_of_buffer(
    machine: Machine, data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None
) -> NumpyArray:
    """An array, as protocol 5 writes it; with `axes`, transposed."""
    if order not in (("C", "F") if axes is None else ("K",)):
        raise ValueError("an order other than C, F or K")
    array = NumpyArray()
    array.fill(data, dtype, shape, "F" if order == "F" else "C")
    if axes is not None:
        array.transpose(axes)
    return array


def scalar(machine: Machine, dtype: Any, data: Any) -> float | Node:
    """A number of NumPy, as one of Python. A value of another kind is inert."""
    if type(dtype) is not DType:
        raise ValueError("damaged: a number without dtype")
    if dtype.unsupported:
        return Node("numpy.generic", unknown=True)
    storage = storage_of(data, dtype.dtype)
    if storage.numel != 1:
        raise ValueError("damaged: a number of several elements")
    return storage.read(0, 1).item()


def path(machine: Machine, *parts: Any) -> str:
    """A path, as a string."""
    if len(parts) > MAX_PARTS or any(type(p) is not str or len(p) > MAX_PART for p in parts):
        raise ValueError("damaged: a path of something other than names")
    joined = "/".join(parts)
    machine.budget.spend_bytes(4 * len(joined))
    return joined


def size(machine: Machine, shape: Any = ()) -> tuple[Any, ...]:
    """A shape, as a tuple."""
    if type(shape) not in (list, tuple):
        raise ValueError("a size that is not a list")
    machine.budget.spend_opcodes(len(shape))
    return tuple(shape)


def rebuilt(
    machine: Machine, function: Any, kind: Any, arguments: Any, state: Any = None
) -> Array | Node:
    """A tensor that has attributes of its own, without them."""
    if type(function) is not Global or function.reduce not in (tensor, parameter):
        raise ValueError("a tensor that another function makes")
    if type(arguments) is not tuple:
        raise ValueError("damaged: arguments that are not a tuple")
    array: Array | Node = function.reduce(machine, *arguments)
    return array


def old_object(machine: Machine, kind: Any, base: Any, state: Any) -> Any:
    """An object of a class, as protocol 0 and 1 make it."""
    if type(kind) is not Global:
        raise ValueError("damaged: an object without a class")
    if kind.unknown:
        node = Node(kind.name, unknown=True)
        node.items = state if type(state) in (dict, list) else None
        return node
    if kind.new is None:
        raise ValueError(f"an object of {kind}")
    made = kind.new()
    return dictionary(machine, state) if type(made) is dict and type(state) is dict else made


def _values(dtypes: dict[str, torch.dtype]) -> dict[str, dict[str, Any]]:
    return {name: {"value": dtype} for name, dtype in dtypes.items()}


# {module: {name: fields of its `Global`}}
ENTRIES: dict[str, dict[str, dict[str, Any]]] = {
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
        "_rebuild_tensor": {"reduce": tensor},
        "_rebuild_tensor_v2": {"reduce": tensor},
        "_rebuild_parameter": {"reduce": parameter},
        "_rebuild_parameter_with_state": {"reduce": parameter},
    },
    "torch._tensor": {"_rebuild_from_type_v2": {"reduce": rebuilt}},
    "torch.storage": {"_load_from_bytes": {"reduce": nested_storage}},
    "torch": {
        "Size": {"reduce": size},
        "Tensor": {},
        "device": {"reduce": lambda machine, *where: None},
        **_values(STORAGES),
        **_values(DTYPES),
    },
    "numpy": {"ndarray": {}, "dtype": {"reduce": dtype}},
}
for _module in ("builtins", "__builtin__"):
    ENTRIES[_module] = {
        "set": {"reduce": scalars},
        "frozenset": {"reduce": scalars},
        "bytes": {"reduce": lambda machine: b""},
        **{name: {} for name in ("dict", "list", "int", "float")},  # of a defaultdict
    }
for _module in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
    ENTRIES[f"{_module}.multiarray"] = {
        "scalar": {"reduce": scalar},
        "_reconstruct": {"reduce": empty_array},
    }
    ENTRIES[f"{_module}.numeric"] = {"_frombuffer": {"reduce": array_of_buffer}}

OLD = {
    module: {"_reconstructor": {"reduce": old_object}, "__newobj__": {}}
    for module in ("copyreg", "copy_reg")
}
PACKAGED = frozenset({"torch_utils.persistence", "dnnlib.util", "dnnlib.tflib.network"})


def _globals(entries: dict[str, dict[str, dict[str, Any]]]) -> dict[tuple[str, str], Global]:
    return {
        (module, name): Global(f"{module}.{name}", **fields)
        for module, names in entries.items()
        for name, fields in names.items()
    }


ALLOWED = Globals(_globals(ENTRIES), _globals(OLD), PACKAGED, MODULES)
