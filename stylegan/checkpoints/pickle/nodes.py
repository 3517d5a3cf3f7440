# SPDX-License-Identifier: Apache-2.0
"""What stands for the objects of a checkpoint: plain data, without their code."""

import math

import torch

from stylegan.checkpoints.pickle.source import DIMENSIONS, Array, contiguous, storage_of

MOST = 20_000  # modules and tensors of a network; StyleGAN3 has 350,
DEPTH = 64  # levels of modules within modules,
NAME = 100  # characters of a name,
PATH = 500  # and of the names from a network down to a tensor


class Node:
    """An object of a class that is not ours. Attributes: kind, its class; state, its attributes.

    A module's parameters, buffers and children lie in its state as PyTorch keeps them.
    """

    __slots__ = ("kind", "state", "code")

    def __init__(self, kind, state=None, code=0):
        self.kind, self.state = kind, state
        self.code = code  # characters of source text that came with it, which nobody reads

    def __str__(self):
        return f"an object of {self.kind}"

    def get(self, name, otherwise=None):
        """An attribute that is a plain value."""
        value = self.state.get(name, otherwise) if type(self.state) is dict else otherwise
        return value.value() if type(value) is Array else value

    def arguments(self, names):
        """What it was constructed with, by name; `names` of the positional ones."""
        args, kwargs = self.get("_init_args", ()), self.get("_init_kwargs", {})
        if type(args) not in (tuple, list) or type(kwargs) is not dict or len(args) > len(names):
            raise ValueError(f"{self.kind}: recorded arguments that cannot be")
        return {**dict(zip(names, args)), **kwargs}

    def holder(self, name):
        """`_parameters`, `_buffers` or `_modules`: a dict by name."""
        held = self.get(name, {})
        if type(held) is not dict or not all(map(is_name, held)):
            raise ValueError(f"{self.kind}: {name} is no dictionary by name")
        return held

    def child(self, *path):
        """A module under it, or an empty one."""
        node = self
        for name in path:
            node = node.holder("_modules").get(name)
            if type(node) is not Node:
                return Node("none", {})
        return node


class Unbuilt:
    """Something of NumPy that the pickle completes later, by BUILD."""


class DType(Unbuilt):
    """A dtype of NumPy. Attribute: dtype, of torch."""

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

    def __init__(self, name):
        if type(name) is not str or len(name) > 3 or name.lstrip("<|=") not in self.KINDS:
            raise ValueError(f"a dtype that networks do not have: {_ascii(name)}")
        self.dtype = self.KINDS[name.lstrip("<|=")]

    def build(self, machine, version, order, *rest):
        """Its state."""
        if order not in ("<", "|", "="):
            raise ValueError(f"numbers of the byte order {_ascii(order)}, not little-endian")


class NumpyArray(Array, Unbuilt):
    """An array of NumPy before and after its state came."""

    def __init__(self):
        self.storage = None

    def build(self, machine, version, shape, dtype, fortran, data):
        """Its state."""
        self.fill(data, dtype, shape, "F" if fortran is True else "C")

    def fill(self, data, dtype, shape, order):
        """Give it its contents."""
        if type(dtype) is not DType or type(shape) is not tuple:
            raise ValueError("damaged: an array without shape or dtype")
        if len(shape) > DIMENSIONS or any(type(size) is not int or size < 0 for size in shape):
            raise ValueError("damaged: an array whose shape cannot be")
        storage = storage_of(data, dtype.dtype)
        if math.prod(shape) != storage.numel:
            raise ValueError(
                f"an array of shape {str(list(shape))[:80]} in {storage.numel} elements"
            )
        Array.__init__(self, storage, 0, shape, contiguous(shape, order))

    def transpose(self, axes):
        """Its axes in another order, a permutation."""
        if type(axes) not in (tuple, list) or any(type(i) is not int for i in axes):
            raise ValueError("damaged: axes that are no integers")
        if sorted(axes) != list(range(len(self.shape))):
            raise ValueError("damaged: axes that are not those of the array")
        self.shape, self.strides = (
            tuple(values[i] for i in axes) for values in (self.shape, self.strides)
        )


def tensors_of(node, name):
    """{name: `Array`} of all parameters and buffers under a module; frozen weights are buffers.

    Raises: ValueError for what is no tree of modules.
    """
    result, count = {}, 0
    todo = [(node, "", 0)]
    while todo:
        node, prefix, depth = todo.pop()
        if type(node) is not Node:
            raise ValueError(f"{name}.{prefix[:-1]}: no module")
        children = node.holder("_modules")
        tensors = {**node.holder("_parameters"), **node.holder("_buffers")}
        count += 1 + len(tensors) + len(children)
        if count > MOST or depth > DEPTH or len(prefix) > PATH:
            raise ValueError(f"{name}: more than {MOST:,} modules and tensors, or {DEPTH} levels")
        for key, value in tensors.items():
            if value is not None and not isinstance(value, Array):
                raise ValueError(f"{name}.{prefix}{key}: no tensor")
            if prefix + key in result:
                raise ValueError(f"{name}.{prefix}{key}: two tensors of one name")
            result[prefix + key] = value
        for key, value in children.items():
            if value is not None:
                todo.append((value, f"{prefix}{key}.", depth + 1))
    return {key: value for key, value in result.items() if value is not None}


def is_name(key):
    """Whether it may be the name of a module or tensor, which messages show."""
    return type(key) is str and len(key) <= NAME and key.isprintable()


def _ascii(value):
    """A string for a message; of anything else the type, since its contents may be endless."""
    return ascii(value)[:20] if type(value) is str else f"a {type(value).__name__}"
