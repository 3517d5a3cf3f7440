# SPDX-License-Identifier: Apache-2.0
"""The form of the table of allowed globals, which the machine is given."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stylegan.checkpoints.pickle.nodes import Node
from stylegan.checkpoints.pickle.refused import may_stand

MAX_NAME = 100  # characters of a module and a class together
CLASS = re.compile(r"[A-Z]\w*")


@dataclass(frozen=True)
class Global:
    """A global that a pickle may name.

    Attributes:
        name: module and name, for messages.
        reduce: what a call gives, as plain data: function of the machine and the arguments.
        new: makes an empty object of it.
        value: what the name itself stands for.
        unknown: whether nothing is known but the name. Its objects are inert `Node`s.
    """

    name: str
    reduce: Callable[..., Any] | None = None
    new: Callable[[], Any] | None = None
    value: Any = None
    unknown: bool = False

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Globals:
    """All globals that pickles may name.

    Attributes:
        table: {(module, name): global}.
        old: others that only pickles of protocol 0 and 1 may name.
        packaged: modules of `table` that also occur inside other packages.
        modules: pattern of modules whose classes become nodes, whatever their names.
    """

    table: Mapping[tuple[str, str], Global]
    old: Mapping[tuple[str, str], Global]
    packaged: frozenset[str]
    modules: re.Pattern[str]

    def find(self, module: str, name: str, old: bool = False) -> Global | None:
        """The global of that name, or None if it is refused.

        Args: old: whether the pickle is of protocol 0 or 1.
        """
        known = self.table.get((module, name)) or (self.old.get((module, name)) if old else None)
        if known is not None:
            return known
        kind = f"{module}.{name}"
        if len(kind) <= MAX_NAME and self.modules.fullmatch(module) and CLASS.fullmatch(name):
            return Global(kind, new=lambda: Node(kind))
        if not may_stand(module, name):
            return self._packaged(module, name)
        return self._packaged(module, name) or Global(kind, unknown=True)

    def _packaged(self, module: str, name: str) -> Global | None:
        """A known global of a program that somebody copied into a package of theirs."""
        if len(module) > MAX_NAME or not all(part.isidentifier() for part in module.split(".")):
            return None
        inner = next((m for m in self.packaged if module.endswith(f".{m}")), None)
        return self.table.get((inner, name)) if inner else None
