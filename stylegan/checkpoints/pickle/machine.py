# SPDX-License-Identifier: Apache-2.0
"""The machine that a pickle's opcodes work on: a stack and a memo, under a budget."""

from __future__ import annotations

import pickle
import pickletools
import struct
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from stylegan.checkpoints.pickle.budget import Budget, Refusal
from stylegan.checkpoints.pickle.keys import as_item, as_key
from stylegan.checkpoints.pickle.names import Globals
from stylegan.checkpoints.pickle.nodes import Node
from stylegan.checkpoints.pickle.numpy_state import NumpyArray
from stylegan.checkpoints.pickle.source import Region, Span, Text

MAX_SMALL = 1 << 4  # bytes; longer byte strings stay in the file
MAX_TEXT = 1 << 16  # bytes; longer text stays in the file
MAX_INTEGER = 64  # bytes
MAX_LINE = 512  # bytes
MARK = object()


class Machine:
    """The state of one pickle being read.

    Args:
        region: what to read.
        names: the globals that the pickle may name.
        budget: shared by all pickles of a file.
        persistent: gives the object of a persistent id; None refuses these ids.
        at: offset of the pickle in the region.
        old: whether it is of protocol 0 or 1, which do not begin with their number.
    Attributes: at: offset of the next byte; start: of the current opcode.
    """

    def __init__(
        self,
        region: Region,
        names: Globals,
        budget: Budget,
        persistent: Callable[[Any], Any] | None,
        at: int,
        old: bool = False,
    ) -> None:
        self.file, self.view, self.base = region.file, region.view, region.base
        self.names, self.persistent, self.budget = names, persistent, budget
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.arrays: list[NumpyArray] = []  # created empty, filled by BUILD
        self.at = self.start = at
        self.old = old

    def run(self, actions: Mapping[int, Callable[[Machine], Any]]) -> Any:
        """Execute up to STOP. Args: actions: by opcode. Returns: the value of the pickle."""
        view, budget, at = self.view, self.budget, self.at
        known = view[at] == pickle.PROTO[0] and 2 <= view[at + 1] <= pickle.HIGHEST_PROTOCOL
        if not known and not self.old:
            raise Refusal("not a pickle of protocol 2 to 5")
        while True:
            self.start = self.at
            code = view[self.at]
            self.at += 1
            if code == pickle.STOP[0]:
                break
            budget.opcodes -= 1
            if budget.opcodes < 0:
                budget.spend_opcodes(0)
            action = actions.get(code)
            if action is None:
                self.refuse(code)
            action(self)
        if not all(array.filled for array in self.arrays):
            raise Refusal("damaged: an array without contents")
        (value,) = self.stack
        return value

    def refuse(self, code: int) -> NoReturn:
        """Raise for an opcode that no honest file contains."""
        names = {info.code: info.name for info in pickletools.opcodes}
        name = names.get(chr(code), f"{code:#04x}")
        if name == "INST":
            module, qualname = (self.line().decode("utf-8", "replace") for _ in range(2))
            name += f" of the global {shown(module, qualname)}"
        elif name.startswith("EXT"):
            name += " (a global by a number)"
        raise Refusal(f"refuses the opcode {name}: no network needs it")

    # Reading arguments

    def take(self, length: int) -> memoryview:
        """The next bytes."""
        stop = self.at + length
        if stop > len(self.view):
            raise Refusal("the file ends too early; copy or download it again")
        part = self.view[self.at : stop]
        self.at = stop
        return part

    def number(self, format: str, size: int) -> Any:
        """The next number."""
        (value,) = struct.unpack_from(format, self.view, self.at)
        self.at += size
        return value

    def line(self) -> bytes:
        """The bytes up to a newline."""
        window = bytes(self.view[self.at : self.at + MAX_LINE])
        stop = window.find(b"\n")
        if stop < 0:
            raise Refusal("damaged: a name without an end")
        self.at += stop + 1
        return window[:stop]

    def push_bytes(self, length: int) -> None:
        """Push a byte string, or its span in the file."""
        part = self.take(length)
        if length > MAX_SMALL and self.base is not None:
            self.stack.append(Span(self.file, self.base + self.at - length, length))
        else:
            self.budget.spend_bytes(length)
            self.stack.append(bytes(part))

    def push_text(self, length: int) -> None:
        """Push a string, or the text in the file."""
        part = self.take(length)
        if length > MAX_TEXT and self.base is not None:
            self.stack.append(Text(self.file, self.base + self.at - length, length))
        else:
            self.budget.spend_bytes(length)
            text = str(part, "utf-8", "surrogatepass")
            wide = sys.getsizeof(text) - length  # a string takes up to 4 bytes a character
            self.budget.spend_bytes(max(wide, 0))
            self.stack.append(text)

    def push_long(self, length: int) -> None:
        """Push an integer of `length` bytes."""
        if not 0 <= length <= MAX_INTEGER:
            raise Refusal(f"an integer of {length} bytes")
        self.stack.append(int.from_bytes(self.take(length), "little", signed=True))

    # The stack

    def pop_mark(self) -> list[Any]:
        """The values above the topmost mark."""
        stack, i = self.stack, len(self.stack) - 1
        while stack[i] is not MARK:
            i -= 1
            if i < 0:
                raise Refusal("damaged: no mark")
        items = stack[i + 1 :]
        del stack[i:]
        return items

    def pop(self) -> Any:
        """The topmost value."""
        value = self.stack.pop()
        if value is MARK:
            raise Refusal("damaged: a mark where a value belongs")
        return value

    def pop_tuple(self, n: int) -> None:
        """Push a tuple of the topmost n values."""
        items = [self.pop() for _ in range(n)]
        self.stack.append(tuple(reversed(items)))

    def remember(self, key: int) -> None:
        """Keep the topmost value under a number."""
        if self.stack[-1] is MARK:
            raise Refusal("damaged: a mark where a value belongs")
        self.memo[key] = self.stack[-1]

    def set_items(self, items: list[Any]) -> None:
        """Set keys and values of the topmost dict."""
        target = self.stack[-1]
        if type(target) is Node and target.unknown:
            target = target.contents(dict)
        if type(target) is not dict or len(items) % 2:
            raise Refusal("sets items of something that is not a dict")
        for key, value in zip(items[::2], items[1::2]):
            target[as_key(key)] = value

    def append(self, items: list[Any]) -> None:
        """Extend the topmost list."""
        target = self.stack[-1]
        if type(target) is Node and target.unknown:
            target = target.contents(list)
        if type(target) is not list:
            raise Refusal("appends to something that is not a list")
        target.extend(items)

    def add(self, items: list[Any]) -> None:
        """Add to the topmost set."""
        if type(self.stack[-1]) is not set:
            raise Refusal("adds to something that is not a set of strings and integers")
        try:
            self.stack[-1].update(map(as_item, items))
        except ValueError as e:
            raise Refusal(f"adds to something that is {e}") from e

    def push_dict(self) -> None:
        """Push a dict of the keys and values above the mark."""
        items = self.pop_mark()
        self.stack.append({})
        self.set_items(items)

    def push_set(self) -> None:
        """Push a set of the values above the mark."""
        items = self.pop_mark()
        self.stack.append(set())
        self.add(items)

    def persistent_id(self) -> None:
        """BINPERSID: an object outside the pickle."""
        key = self.pop()
        if self.persistent is None:
            raise Refusal("refuses a persistent id: files of this kind have none")
        self.stack.append(self.persistent(key))


def shown(module: str, name: str) -> str:
    """A global for a message."""
    return ascii(f"{module}.{name}"[:120])[1:-1][:200]
