# SPDX-License-Identifier: Apache-2.0
"""What a file without networks holds, in words."""

from __future__ import annotations

from itertools import islice
from typing import Any

from stylegan.checkpoints.pickle.arrays import Array
from stylegan.checkpoints.pickle.nodes import Node

SHOWN = 6  # keys of a dictionary


def contents(root: Any) -> str:
    """The value of a file: "a dictionary of epoch, optimizer"."""
    if isinstance(root, Array):
        return f"a tensor {str(list(root.shape))[:60]}"
    if type(root) is Node:
        return f"an object of the class {ascii(root.kind)[1:-1][:80]}"
    if type(root) is dict:
        return _dictionary(root) if root else "an empty dictionary"
    if type(root) in (list, tuple):
        return f"a {type(root).__name__} of {len(root):,} values"
    return f"a {type(root).__name__}"


def _dictionary(value: dict[Any, Any]) -> str:
    names = [_key(key) for key in islice(value, SHOWN)]
    more = f" and {len(value) - SHOWN:,} more" if len(value) > SHOWN else ""
    inner = next((item for item in value.values() if _is_state(item)), None)
    tensors = f"; the first tensor is {_key(next(iter(inner)))}" if inner else ""
    return f"a dictionary of {', '.join(names)}{more}{tensors}"


def _is_state(value: Any) -> bool:
    return type(value) is dict and isinstance(next(iter(value.values()), None), Array)


def _key(key: Any) -> str:
    """A key as it is shown, quoted if it has characters that a terminal does not print."""
    if type(key) not in (str, int, bytes):
        return f"a {type(key).__name__}"
    text = str(key)[:40]
    return text if type(key) is not bytes and text.isprintable() else ascii(key)[:40]
