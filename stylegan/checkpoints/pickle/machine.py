# SPDX-License-Identifier: Apache-2.0
"""The machine that a pickle's opcodes work on: a stack, a memo, and what it may cost."""

import pickle
import pickletools
import struct
import sys

from stylegan.checkpoints.pickle.allowed import Global, find_global, is_key
from stylegan.checkpoints.pickle.nodes import Node, Unbuilt
from stylegan.checkpoints.pickle.source import Span, Text
from stylegan.errors import CheckpointError

OPCODES = 200_000  # of one file; the largest published networks have 60,000
SMALL = 1 << 4  # bytes; longer byte strings stay in the file,
TEXT = 1 << 16  # and text longer than this
KEPT = 64 << 20  # bytes of the shorter ones, all together
LONG = 64  # bytes of an integer
MARK = object()


class Budget:
    """What one file may still cost."""

    def __init__(self):
        self.opcodes, self.kept = OPCODES, KEPT
        self.decoded = 0  # bytes of text that were read as bytes
        self.nested = False  # whether this is inside the file that a tensor is


class Refusal(Exception):
    """Why a pickle is not read on; without file and offset."""


class Machine:
    """The state of one run. `at` is the next byte, `start` that of the opcode."""

    def __init__(self, file, view, base, persistent, budget):
        self.file, self.view, self.base = file, view, base
        self.persistent, self.budget = persistent, budget
        self.stack, self.memo, self.unbuilt = [], {}, []
        self.at = self.start = 0

    def run(self, actions):
        """Execute up to STOP. Args: actions: {opcode: function of the machine}."""
        view, budget = self.view, self.budget
        if view[0] != pickle.PROTO[0] or not 2 <= view[1] <= pickle.HIGHEST_PROTOCOL:
            raise Refusal("not a pickle of protocol 2 to 5")
        while True:
            self.start = self.at
            code = view[self.at]
            self.at += 1
            if code == pickle.STOP[0]:
                break
            budget.opcodes -= 1
            if budget.opcodes < 0:
                self.spend(0)
            action = actions.get(code)
            if action is None:
                self.refuse(code)
            action(self)
        if any(array.storage is None for array in self.unbuilt):
            raise Refusal("damaged: an array without contents")
        (value,) = self.stack
        return value, self.at

    def refuse(self, code):
        """An opcode that no such file needs."""
        info = pickletools.code2op.get(chr(code))
        name = info.name if info else f"{code:#04x}"
        if name == "INST":
            module, qualname = (self.line().decode("utf-8", "replace") for _ in range(2))
            name += f" of the global {shown(module, qualname)}"
        elif name.startswith("EXT"):
            name += " (a global by a number)"
        raise Refusal(f"refuses the opcode {name}; no network needs it")

    # What it may cost

    def spend(self, opcodes):
        """Count work that a single opcode asks for, such as a copy of so many items."""
        self.budget.opcodes -= opcodes
        if self.budget.opcodes < 0:
            raise Refusal(f"more than {OPCODES:,} opcodes, or work as of so many")

    def spend_bytes(self, length):
        """Count bytes that stay in memory."""
        self.budget.kept -= length
        if self.budget.kept < 0:
            raise Refusal(f"more than {KEPT >> 20} MiB of text")

    def spend_text(self, length):
        """Count text in the file that is read as bytes: twice, of an honest file."""
        self.budget.decoded += length
        if self.budget.decoded > 2 * self.file.size:
            raise Refusal("damaged: the same text in many places")

    # Reading arguments

    def take(self, length):
        """The next bytes, a view."""
        stop = self.at + length
        if stop > len(self.view):
            raise Refusal("the file ends in the middle")
        part = self.view[self.at : stop]
        self.at = stop
        return part

    def number(self, format, size):
        """The next number."""
        (value,) = struct.unpack_from(format, self.view, self.at)
        self.at += size
        return value

    def line(self):
        """The bytes up to a newline."""
        window = bytes(self.view[self.at : self.at + 512])
        stop = window.find(b"\n")
        if stop < 0:
            raise Refusal("damaged: a name without an end")
        self.at += stop + 1
        return window[:stop]

    def keep(self, length, limit):
        """Whether so many bytes are read now rather than later."""
        if length > limit and self.base is not None:
            return False
        self.spend_bytes(length)
        return True

    def push_bytes(self, length):
        """Push a byte string, or where it lies."""
        part = self.take(length)
        if self.keep(length, SMALL):
            self.stack.append(bytes(part))
        else:
            self.stack.append(Span(self.file, self.base + self.at - length, length))

    def push_text(self, length):
        """Push a string, or where it lies."""
        part = self.take(length)
        if self.keep(length, TEXT):
            text = str(part, "utf-8", "surrogatepass")
            self.spend_bytes(max(sys.getsizeof(text) - length, 0))  # up to 4 bytes a character
            self.stack.append(text)
        else:
            self.stack.append(Text(self.file, self.base + self.at - length, length))

    def push_long(self, length):
        """Push an integer of so many bytes."""
        if not 0 <= length <= LONG:
            raise Refusal(f"an integer of {length} bytes")
        self.stack.append(int.from_bytes(self.take(length), "little", signed=True))

    # The stack

    def pop_mark(self):
        """What lies above the topmost mark."""
        stack, i = self.stack, len(self.stack) - 1
        while stack[i] is not MARK:
            i -= 1
            if i < 0:
                raise Refusal("damaged: no mark")
        items = stack[i + 1 :]
        del stack[i:]
        return items

    def pop(self):
        """The topmost value."""
        value = self.stack.pop()
        if value is MARK:
            raise Refusal("damaged: a mark where a value belongs")
        return value

    def pop_tuple(self, n):
        """Push a tuple of the topmost n values."""
        items = [self.pop() for _ in range(n)]
        self.stack.append(tuple(reversed(items)))

    def remember(self, key):
        """Keep the topmost value under a number."""
        if self.stack[-1] is MARK:
            raise Refusal("damaged: a mark where a value belongs")
        self.memo[key] = self.stack[-1]

    def set_items(self, items):
        """Into the topmost dict."""
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise Refusal("sets items of what is no dict")
        for key, value in zip(items[::2], items[1::2]):
            if not is_key(key):
                raise Refusal("a key that is no string or integer")
            target[key] = value

    def append(self, items):
        """To the topmost list."""
        if type(self.stack[-1]) is not list:
            raise Refusal("appends to what is no list")
        self.stack[-1].extend(items)

    def add(self, items):
        """To the topmost set."""
        if type(self.stack[-1]) is not set or not all(map(is_key, items)):
            raise Refusal("adds to what is no set of strings and integers")
        self.stack[-1].update(items)

    def from_items(self, kind):
        """Push a dict or a frozenset of what lies above the mark."""
        items = self.pop_mark()
        self.stack.append({} if kind is dict else set())
        (self.set_items if kind is dict else self.add)(items)

    # Globals

    def push_global(self, module, name):
        """Push a `Global`, if it is one that we know."""
        found = find_global(module, name)
        if found is None:
            raise Refusal(
                f"refuses the global {shown(module, name)}: no network needs it, and nothing that "
                "a file names is run"
            )
        self.stack.append(found)

    def named_global(self):
        """GLOBAL: two lines."""
        self.push_global(str(self.line(), "utf-8"), str(self.line(), "utf-8"))

    def stack_global(self):
        """STACK_GLOBAL: two strings."""
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise Refusal("damaged: a global whose name is no string")
        self.push_global(module, name)

    def reduce(self):
        """REDUCE: what the call of a known global would give, as plain data."""
        args, called = self.pop(), self.pop()
        if type(args) is not tuple:
            raise Refusal("damaged: arguments that are no tuple")
        if type(called) is not Global or called.reduce is None:
            raise Refusal(f"refuses to call {describe(called)}")
        try:
            value = called.reduce(self, *args)
        except CheckpointError:
            raise
        except (TypeError, ValueError, AttributeError) as e:
            raise Refusal(f"{called}: {e}") from e
        self.stack.append(value)

    def new(self):
        """NEWOBJ: an empty object of a known class."""
        args, called = self.pop(), self.pop()
        if type(called) is not Global or called.new is None or args != ():
            raise Refusal(f"refuses to make a {describe(called)}")
        self.stack.append(called.new())

    def build(self):
        """BUILD: attributes of the topmost object."""
        state, target = self.pop(), self.stack[-1]
        if type(target) is dict and type(state) is dict:
            return  # attributes of an OrderedDict or EasyDict: versions of modules, say
        if type(target) is Node and target.state is None and type(state) is dict:
            target.state = state
        elif isinstance(target, Unbuilt) and type(state) is tuple:
            target.build(self, *state)
        else:
            raise Refusal(f"refuses to set the state of {describe(target)}")

    def persistent_id(self):
        """BINPERSID: something outside the pickle."""
        key = self.pop()
        if self.persistent is None:
            raise Refusal("refuses a persistent id; files of this kind have none")
        self.stack.append(self.persistent(key))


def shown(module, name):
    """A global for a message."""
    return ascii(f"{module}.{name}"[:120])[1:-1][:200]


def describe(value):
    """What a value is, in a few words; its contents may be endless."""
    if type(value) in (Global, Node):
        return str(value)
    return f"a {type(value).__name__}"
