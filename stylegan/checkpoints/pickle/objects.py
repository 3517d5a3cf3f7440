# SPDX-License-Identifier: Apache-2.0
"""Opcodes that name a global, call it, or make an object of it. None of them imports or calls
anything: a known global gives plain data, and an unknown one an inert node with its name."""

from __future__ import annotations

from typing import Any

from stylegan.checkpoints.pickle.budget import Refusal
from stylegan.checkpoints.pickle.machine import Machine, shown
from stylegan.checkpoints.pickle.names import Global
from stylegan.checkpoints.pickle.nodes import Node
from stylegan.checkpoints.pickle.numpy_state import DType, NumpyArray
from stylegan.errors import CheckpointError

UNKNOWN_WORK = 50  # opcodes that take as long as the look at an unknown name


def push_global(m: Machine, module: str, name: str) -> None:
    """Push a global, unless it is refused."""
    found = _find(m, module, name)
    if found is None:
        raise Refusal(
            f"refuses the global {shown(module, name)}: no network needs it, and nothing that "
            "a file names is run"
        )
    m.stack.append(found)


def named_global(m: Machine) -> None:
    """GLOBAL: module and name in two lines."""
    push_global(m, str(m.line(), "utf-8"), str(m.line(), "utf-8"))


def stack_global(m: Machine) -> None:
    """STACK_GLOBAL: module and name on the stack."""
    name, module = m.pop(), m.pop()
    if type(name) is not str or type(module) is not str:
        raise Refusal("damaged: a global whose name is not a string")
    push_global(m, module, name)


def reduce(m: Machine) -> None:
    """REDUCE: what the call of a known global would give, as plain data."""
    args, called = m.pop(), m.pop()
    if type(args) is not tuple:
        raise Refusal("damaged: arguments that are not a tuple")
    m.stack.append(_unknown(called) or _called(m, called, args))


def new(m: Machine) -> None:
    """NEWOBJ: an empty object of a known class."""
    args, called = m.pop(), m.pop()
    node = _unknown(called)
    if node is None and (type(called) is not Global or called.new is None or args != ()):
        raise Refusal(f"refuses to create {describe(called)}")
    m.stack.append(node or called.new())


def new_with_names(m: Machine) -> None:
    """NEWOBJ_EX: an object of an unknown class."""
    m.pop(), m.pop()
    m.stack.append(_unknown(m.pop()) or m.refuse(0x92))


def new_of_mark(m: Machine) -> None:
    """OBJ: an object of an unknown class, whose arguments are above the mark."""
    called, *args = m.pop_mark() or [None]
    m.stack.append(_unknown(called) or (_made(m, called, args) if m.old else m.refuse(ord("o"))))


def new_of_name(m: Machine) -> None:
    """INST: an object of an unknown class, named in two lines, whose arguments are above the
    mark."""
    at = m.at
    module, name = (m.line().decode("utf-8", "replace") for _ in range(2))
    called = _find(m, module, name)
    args = m.pop_mark() if called else []
    node = _unknown(called)
    if node is None and (called is None or not m.old):
        m.at = at
        m.refuse(ord("i"))
    m.stack.append(node or _made(m, called, args))


def build(m: Machine) -> None:
    """BUILD: attributes of the topmost object."""
    state, target = m.pop(), m.stack[-1]
    if type(target) is dict and type(state) is dict:
        return  # attributes of an OrderedDict or EasyDict, such as versions of modules
    if type(target) is Node and target.unknown:
        slots = state if type(state) is tuple and len(state) == 2 else (state,)
        for part in slots:
            if type(part) is dict:
                own = target.state or {}
                m.budget.spend_opcodes(len(own) + len(part) if own else 0)
                target.state = {**own, **part} if own else part
    elif type(target) is Node and target.state is None and type(state) is dict:
        target.state = state
    elif isinstance(target, (DType, NumpyArray)) and type(state) is tuple:
        target.build(*state)
    else:
        raise Refusal(f"refuses to set the state of {describe(target)}")


def describe(value: object) -> str:
    """What a value is, in a few words. Its contents may be endless."""
    if type(value) in (Global, Node):
        return str(value)
    return f"a value of type {type(value).__name__}"


def _find(m: Machine, module: str, name: str) -> Global | None:
    """A global, or None if it is refused."""
    found = m.names.find(module, name, m.old)
    if found and found.unknown:
        m.budget.spend_opcodes(UNKNOWN_WORK)
    return found


def _unknown(called: object) -> Node | None:
    """An inert object of a class that nobody knows; None if `called` is something else."""
    if type(called) is Global and called.unknown:
        return Node(called.name, unknown=True)
    return None


def _made(m: Machine, called: object, args: list[Any]) -> Any:
    """An object of a known class, as protocol 0 and 1 make it."""
    if type(called) is Global and called.new is not None and not args:
        return called.new()
    return _called(m, called, tuple(args))


def _called(m: Machine, called: object, args: tuple[Any, ...]) -> Any:
    if type(called) is not Global or called.reduce is None:
        raise Refusal(f"refuses to call {describe(called)}")
    try:
        return called.reduce(m, *args)
    except CheckpointError:
        raise
    except (TypeError, ValueError, AttributeError) as e:
        raise Refusal(f"{called}: {e}") from e
