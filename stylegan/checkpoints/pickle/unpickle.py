# SPDX-License-Identifier: Apache-2.0
"""A reader of pickles that runs nothing.

It knows the opcodes of protocols 2 to 5 and the globals in allowed.py; for each of those it makes
plain data itself and never calls what the name means elsewhere. Everything else is refused. Large
strings stay in the file. Nothing here recurses, and no file can make it take more memory than
`Budget` allows.

Source: the opcodes as documented by the standard library's pickletools.
"""

import pickle
import struct

from stylegan.checkpoints.pickle.machine import MARK, Budget, Machine, Refusal
from stylegan.errors import CheckpointError


def unpickle(file, view, base=0, persistent=None, budget=None, before=0):
    """The value of a pickle, as plain data, `Node`s and `Array`s.

    Args:
        file: `File` that it lies in, for messages and for what stays there.
        view: memoryview that begins with the pickle.
        base: offset of the view in the file; None: it is not a part of the file as it is.
        persistent: function of a persistent id; None: there are none.
        budget: `Budget`, if it is part of something larger.
        before: where base is None, bytes of that larger thing before it.
    Returns: (value, number of bytes that it took).
    Raises: CheckpointError that names what is refused and the offset.
    """
    machine = Machine(file, view, base, persistent, budget or Budget())
    try:
        return machine.run(ACTIONS)
    except CheckpointError:
        raise  # of a pickle within it
    except Refusal as e:
        reason = str(e)
    except (IndexError, struct.error, KeyError):
        reason = "damaged: an opcode lacks what it works on"
        if machine.at >= len(view) - 9:
            reason = "the file ends in the middle"
    except (UnicodeError, TypeError, ValueError, OverflowError) as e:
        reason = f"damaged ({e})"
    at = machine.start + (before if base is None else base)
    where = f"byte {at}" + (" of a part" if base is None else "")
    raise CheckpointError(file.path, f"{reason} (at {where})")


def _sized(format, size, push):
    return lambda m: push(m, m.number(format, size))


def _constant(make):
    return lambda m: m.stack.append(make())


def _recall(m, key):
    m.stack.append(m.memo[key])


BY_OPCODE = {
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
    pickle.DICT: lambda m: m.from_items(dict),
    pickle.FROZENSET: lambda m: m.from_items(frozenset),
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
    pickle.GLOBAL: Machine.named_global,
    pickle.STACK_GLOBAL: Machine.stack_global,
    pickle.REDUCE: Machine.reduce,
    pickle.NEWOBJ: Machine.new,
    pickle.BUILD: Machine.build,
    pickle.BINPERSID: Machine.persistent_id,
}
ACTIONS = {code[0]: action for code, action in BY_OPCODE.items()}
