# SPDX-License-Identifier: Apache-2.0
"""A reader of pickles that runs nothing.

It knows the opcodes of all protocols, and the globals that it is given. For a call of one of
these it makes plain data itself, and never calls what the name means elsewhere. It refuses
everything else. Large strings stay in the file. Nothing here recurses, and no file can make it use
more memory than `Budget` allows.

Source: the opcodes as documented by the standard library's pickletools.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from typing import Any

from stylegan.checkpoints.pickle import objects, text
from stylegan.checkpoints.pickle.budget import Budget, Refusal
from stylegan.checkpoints.pickle.machine import MARK, Machine
from stylegan.checkpoints.pickle.names import Globals
from stylegan.checkpoints.pickle.source import Region
from stylegan.errors import CheckpointError
from stylegan.identify import begins_old

HEAD = 300  # bytes that show whether a pickle is of protocol 0 or 1
Action = Callable[[Machine], Any]


class Unpickler:
    """Reads the pickles in a region, one after the other.

    Args:
        region: begins with a pickle.
        names: the globals that pickles may name.
        budget: of the file, if more of it is read.
    Attributes:
        at: offset after the last pickle.
        old: whether the pickles are of protocol 0 or 1, as the first one shows.
    """

    def __init__(self, region: Region, names: Globals, budget: Budget | None = None) -> None:
        self.region, self.names = region, names
        self.budget = budget or Budget(region.file.size)
        self.at, self.old = 0, False

    def read(self, persistent: Callable[[Any], Any] | None = None) -> Any:
        """The value of the next pickle: plain data, `Node`s and `Array`s.

        Args: persistent: gives the object of a persistent id; None refuses these ids.
        Raises: CheckpointError that names what is refused and the offset.
        """
        region = self.region
        if not self.at and region.base is not None and not self.budget.nested:
            self.old = begins_old(bytes(region.view[:HEAD]))
        machine = Machine(region, self.names, self.budget, persistent, self.at, self.old)
        try:
            value = machine.run(OLD_ACTIONS if self.old else ACTIONS)
            self.at = machine.at
            return value
        except CheckpointError:
            raise  # of a nested pickle
        except Refusal as e:
            reason = str(e)
        except (IndexError, struct.error, KeyError):
            reason = "damaged: an opcode without its operands"
            if machine.at >= len(region.view) - 9:
                reason = "the file ends too early; copy or download it again"
        except (UnicodeError, TypeError, ValueError, OverflowError) as e:
            reason = f"damaged ({e})"
        where = f"byte {machine.start} of a nested file"
        if region.base is not None:
            where = f"byte {region.base + machine.start}"
        raise CheckpointError(region.file.path, f"{reason} (at {where})")


def _sized(format: str, size: int, push: Callable[[Machine, Any], None]) -> Action:
    return lambda m: push(m, m.number(format, size))


def _constant(make: Callable[[], Any]) -> Action:
    return lambda m: m.stack.append(make())


def _recall(m: Machine, key: int) -> None:
    m.stack.append(m.memo[key])


BY_OPCODE: dict[bytes, Action] = {
    pickle.PROTO: lambda m: m.take(1),
    pickle.FRAME: lambda m: m.take(8),
    pickle.MARK: lambda m: m.stack.append(MARK),
    pickle.POP: lambda m: m.stack.pop(),
    pickle.POP_MARK: lambda m: m.pop_mark(),
    pickle.DUP: lambda m: m.stack.append(m.stack[-1]),
    pickle.NONE: _constant(lambda: None),
    pickle.NEWTRUE: _constant(lambda: True),
    pickle.NEWFALSE: _constant(lambda: False),
    pickle.BININT: lambda m: m.stack.append(m.number("<i", 4)),
    pickle.BININT1: lambda m: m.stack.append(m.number("<B", 1)),
    pickle.BININT2: lambda m: m.stack.append(m.number("<H", 2)),
    pickle.LONG1: _sized("<B", 1, Machine.push_long),
    pickle.LONG4: _sized("<i", 4, Machine.push_long),
    pickle.BINFLOAT: lambda m: m.stack.append(m.number(">d", 8)),
    pickle.SHORT_BINBYTES: _sized("<B", 1, Machine.push_bytes),
    pickle.BINBYTES: _sized("<I", 4, Machine.push_bytes),
    pickle.BINBYTES8: _sized("<Q", 8, Machine.push_bytes),
    pickle.BYTEARRAY8: _sized("<Q", 8, Machine.push_bytes),
    pickle.SHORT_BINUNICODE: _sized("<B", 1, Machine.push_text),
    pickle.BINUNICODE: _sized("<I", 4, Machine.push_text),
    pickle.BINUNICODE8: _sized("<Q", 8, Machine.push_text),
    pickle.EMPTY_LIST: _constant(list),
    pickle.EMPTY_DICT: _constant(dict),
    pickle.EMPTY_SET: _constant(set),
    pickle.EMPTY_TUPLE: _constant(tuple),
    pickle.TUPLE1: lambda m: m.pop_tuple(1),
    pickle.TUPLE2: lambda m: m.pop_tuple(2),
    pickle.TUPLE3: lambda m: m.pop_tuple(3),
    pickle.TUPLE: lambda m: m.stack.append(tuple(m.pop_mark())),
    pickle.LIST: lambda m: m.stack.append(m.pop_mark()),
    pickle.DICT: Machine.push_dict,
    pickle.FROZENSET: Machine.push_set,
    pickle.APPEND: lambda m: m.append([m.pop()]),
    pickle.APPENDS: lambda m: m.append(m.pop_mark()),
    pickle.SETITEM: lambda m: m.set_items([m.pop(), m.pop()][::-1]),
    pickle.SETITEMS: lambda m: m.set_items(m.pop_mark()),
    pickle.ADDITEMS: lambda m: m.add(m.pop_mark()),
    pickle.BINGET: _sized("<B", 1, _recall),
    pickle.LONG_BINGET: _sized("<I", 4, _recall),
    pickle.BINPUT: _sized("<B", 1, Machine.remember),
    pickle.LONG_BINPUT: _sized("<I", 4, Machine.remember),
    pickle.MEMOIZE: lambda m: m.remember(len(m.memo)),
    pickle.GLOBAL: objects.named_global,
    pickle.STACK_GLOBAL: objects.stack_global,
    pickle.REDUCE: objects.reduce,
    pickle.NEWOBJ: objects.new,
    pickle.BUILD: objects.build,
    pickle.NEWOBJ_EX: objects.new_with_names,
    pickle.OBJ: objects.new_of_mark,
    pickle.INST: objects.new_of_name,
    pickle.BINPERSID: Machine.persistent_id,
    pickle.SHORT_BINSTRING: _sized("<B", 1, text.push_string),
    pickle.BINSTRING: _sized("<i", 4, text.push_string),
}
OLD: dict[bytes, Action] = {
    pickle.INT: text.push_integer,
    pickle.LONG: text.push_integer,
    pickle.FLOAT: text.push_float,
    pickle.STRING: text.push_quoted,
    pickle.UNICODE: text.push_escaped,
    pickle.GET: text.recall,
    pickle.PUT: text.remember,
}
ACTIONS = {code[0]: action for code, action in BY_OPCODE.items()}
OLD_ACTIONS = {code[0]: action for code, action in {**BY_OPCODE, **OLD}.items()}
