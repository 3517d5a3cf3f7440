# SPDX-License-Identifier: Apache-2.0
"""The form of the table of allowed globals, which the machine is given."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stylegan.checkpoints.pickle.nodes import Node

MAX_NAME = 100  # characters of a module and a class together


@dataclass(frozen=True)
class Global:
    """A global that a pickle may name.

    Attributes:
        name: module and name, for messages.
        reduce: what a call gives, as plain data: function of the machine and the arguments.
        new: makes an empty object of it.
        value: what the name itself stands for.
    """

    name: str
    reduce: Callable[..., Any] | None = None
    new: Callable[[], Any] | None = None
    value: Any = None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Globals:
    """All globals that pickles may name.

    Attributes:
        table: {(module, name): global}.
        modules: pattern of modules whose classes become nodes, whatever their names.
    """

    table: Mapping[tuple[str, str], Global]
    modules: re.Pattern[str]

    def find(self, module: str, name: str) -> Global | None:
        """The global of that name, or None if it is not allowed."""
        known = self.table.get((module, name))
        if known is not None:
            return known
        is_class = re.fullmatch(r"[A-Z]\w*", name) and len(module + name) < MAX_NAME
        if self.modules.fullmatch(module) and is_class:
            kind = f"{module}.{name}"
            return Global(kind, new=lambda: Node(kind))
        return None
