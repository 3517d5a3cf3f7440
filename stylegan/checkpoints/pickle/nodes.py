# SPDX-License-Identifier: Apache-2.0
"""The objects of a checkpoint as plain data, without their code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stylegan.checkpoints.pickle.arrays import Array

MAX_NODES = 20_000  # modules and tensors of a network; StyleGAN3 has 350
MAX_DEPTH = 64  # levels of modules inside modules
MAX_NAME = 100  # characters of a name
MAX_PATH = 500  # characters of all names from a network down to a tensor


class Node:
    """An object of a class of another program.

    A module's parameters, buffers and children are in `state` the way PyTorch keeps them.

    Attributes:
        kind: name of its class.
        state: its attributes by name.
        code: characters of source text that came with it, which is not read.
        unknown: whether nothing is known about the class but its name.
        items: what an unknown class that is a list or a dictionary holds.
    """

    __slots__ = ("kind", "state", "code", "unknown", "items")

    def __init__(
        self,
        kind: str,
        state: dict[Any, Any] | None = None,
        code: int = 0,
        unknown: bool = False,
    ) -> None:
        self.kind, self.state, self.code, self.unknown = kind, state, code, unknown
        self.items: dict[Any, Any] | list[Any] | None = None

    def __str__(self) -> str:
        return f"an object of {self.kind}"

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute. An array without dimensions becomes a number."""
        value = self.state.get(name, default) if type(self.state) is dict else default
        return value.value() if type(value) is Array else value

    def contents(self, kind: type) -> Any:
        """`items` as a list or dict, made when it is first asked for. Args: kind: list, dict."""
        if self.items is None:
            self.items = kind()
        return self.items

    def arguments(self, names: Sequence[str]) -> dict[Any, Any]:
        """The recorded constructor arguments by name. Args: names: of the positional ones."""
        args, kwargs = self.get("_init_args", ()), self.get("_init_kwargs", {})
        if type(args) not in (tuple, list) or type(kwargs) is not dict or len(args) > len(names):
            raise ValueError(f"{self.kind}: invalid recorded arguments")
        return {**dict(zip(names, args)), **kwargs}

    def holder(self, name: str) -> dict[str, Any]:
        """`_parameters`, `_buffers` or `_modules`: a dict by name."""
        held = self.get(name, {})
        if type(held) is not dict or not all(map(is_name, held)):
            raise ValueError(f"{self.kind}: {name} is not a dictionary with names as keys")
        return held

    def child(self, *path: str) -> Node:
        """A module below this one; an empty node if it is missing."""
        node = self
        for name in path:
            child = node.holder("_modules").get(name)
            if type(child) is not Node:
                return Node("none", {})
            node = child
        return node


def tensors_of(node: object, name: str) -> dict[str, Array]:
    """All parameters and buffers below a module by their dotted names.

    Frozen weights are buffers, so both are read alike.

    Args: name: of the network, for messages.
    Raises: ValueError if this is not a tree of modules.
    """
    result: dict[str, Any] = {}
    count = 0
    todo = [(node, "", 0)]
    while todo:
        node, prefix, depth = todo.pop()
        if type(node) is not Node:
            raise ValueError(f"{name}.{prefix[:-1]} is not a module")
        children = node.holder("_modules")
        tensors = {**node.holder("_parameters"), **node.holder("_buffers")}
        count += 1 + len(tensors) + len(children)
        if count > MAX_NODES or depth > MAX_DEPTH or len(prefix) > MAX_PATH:
            raise ValueError(
                f"{name}: more than {MAX_NODES:,} modules and tensors, or {MAX_DEPTH} levels"
            )
        for key, value in tensors.items():
            if value is not None and not isinstance(value, Array):
                raise ValueError(f"{name}.{prefix}{key} is not a tensor")
            if value is not None and value.unreadable:
                raise ValueError(f"{name}.{prefix}{key}: {value.unreadable}")
            if prefix + key in result:
                raise ValueError(f"{name}.{prefix}{key}: two tensors have this name")
            result[prefix + key] = value
        for key, value in children.items():
            if value is not None:
                todo.append((value, f"{prefix}{key}.", depth + 1))
    return {key: value for key, value in result.items() if value is not None}


def is_name(key: object) -> bool:
    """Whether `key` can be the name of a module or tensor, which messages show."""
    return type(key) is str and len(key) <= MAX_NAME and key.isprintable()
