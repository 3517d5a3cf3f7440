# SPDX-License-Identifier: Apache-2.0
"""What may be a key of a dictionary or in a set, and what stands for keys that no network has."""

from __future__ import annotations

from typing import Any

from stylegan.checkpoints.pickle.budget import Refusal, is_key
from stylegan.checkpoints.pickle.names import Global
from stylegan.checkpoints.pickle.nodes import Node

MAX_PARTS = 16  # of a tuple


class OtherKey:
    """Stands for a key such as a tuple or a date. It equals only itself, so that no choice of keys
    makes a dictionary slow."""


def as_key(value: object) -> Any:
    """`value` if it may be a key, or what stands for it.

    Raises: Refusal for a value that Python could not have as a key, or that nests others.
    """
    if is_key(value):
        return value
    if type(value) is tuple and 0 < len(value) <= MAX_PARTS and all(map(is_key, value)):
        return OtherKey()
    if type(value) is float or isinstance(value, (Node, Global)):
        return OtherKey()
    raise Refusal("a key that is not a string or integer")


def as_item(value: object) -> Any:
    """The same for an item of a set. Raises: ValueError."""
    if is_key(value):
        return value
    if type(value) is float or isinstance(value, (Node, Global)):
        return OtherKey()
    raise ValueError("not a set of strings and integers")
