# SPDX-License-Identifier: Apache-2.0
"""Finds the networks in the value of a file, wherever the program that wrote it keeps them.

Programs save a module or a state dict alone, in a dictionary under many names, in a list, one or
two levels down, and behind the prefixes of `DataParallel` and `torch.compile`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from stylegan.checkpoints.pickle.arrays import Array
from stylegan.checkpoints.pickle.nodes import Node
from stylegan.checkpoints.roles import MODELS, ROLES, UNNAMED, WRAPPERS, rank_of, role_of

State = dict[str, Any]  # {name of a tensor: Array}
Network = Node | State

TENSORFLOW = "dnnlib.tflib.network.Network"
MAX_LEVEL = 3  # containers inside containers that are searched
MAX_ENTRIES = 20_000  # of all containers that are searched
MAX_NAMES = 200_000  # that are looked at, some of them several times
MAX_WRAPPERS = 8  # around one network
TUPLE = ("G", "D", "G_ema")  # the order of NVIDIA's TensorFlow files, which call the last one Gs
COUNT = "n_averaged"  # of torch.optim.swa_utils.AveragedModel, beside its module
GENERATOR = re.compile(r"synthesis[./].*|input\.input|style_mlp\..*")


@dataclass
class Found:
    """The networks in the value of a file.

    Attributes:
        root: the whole value.
        modules: {"G_ema", "G" or "D": module}.
        states: {"G_ema", "G" or "D": state dict, without the prefixes of wrappers}. A network is
            either in `modules` or here.
        others: what else the dictionaries of the file hold, by key. Of two entries with the same
            key, it has the outer one.
        unnamed: whether the file does not tell which network its generator is. It then is G_ema.
    """

    root: Any
    modules: dict[str, Node] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    unnamed: bool = False

    @property
    def roles(self) -> list[str]:
        """Which of "G_ema", "G" and "D" were found, in this order."""
        return [role for role in ROLES if role in self.modules or role in self.states]

    def add(self, role: str, network: Network) -> None:
        """Keep a network, unless there is one in this role."""
        if role not in self.roles:
            if isinstance(network, Node):
                self.modules[role] = network
            else:
                self.states[role] = network


@dataclass(frozen=True)
class _Place:
    """A value to search.

    Attributes:
        role: of a network there, or None.
        certain: whether a network without a role counts even if it does not look like a generator.
        level: how many containers are around it.
    """

    value: Any
    role: str | None = None
    certain: bool = True
    level: int = 0


@dataclass(frozen=True)
class _Content:
    """A value without wrappers. A state dict of several networks is a dictionary of theirs.

    Attributes:
        original: the value with the wrappers.
        is_state: whether `value` is the state dict of one network.
        several: whether it has the state dicts of several networks.
    """

    original: Any
    value: Any
    is_state: bool = False
    several: bool = False


def find_networks(root: Any) -> Found:
    """The networks in the value of a file, as modules or state dicts.

    Args: root: what `read_root` gives.
    """
    found, left, names = Found(root), MAX_ENTRIES, MAX_NAMES
    alone: list[Network] = []  # networks whose role nothing tells
    todo = deque([_Place(root)])
    opened: dict[int, _Content] = {}  # by id of the value, which it keeps alive
    seen: set[Any] = set()
    while todo:
        place = todo.popleft()
        key = id(place.value)
        if (key, place.role, place.certain) in seen:
            continue
        seen.add((key, place.role, place.certain))
        bare = _unwrapped(place.value)
        names -= _length(bare)
        if names < 0:
            break
        content = opened[key] = opened.get(key) or _open(place.value, bare)
        network = _as_network(content, place.role is not None)
        if network is not None and place.role:
            found.add(place.role, network)
        elif network is not None and (place.certain or is_generator(network)):
            alone.append(network)
        items = {} if network is not None else _items(content.value)
        left -= len(items)
        if left < 0 or place.level > MAX_LEVEL:
            continue
        todo += _inside(place, content.value, items)
        for name, item in items.items() if type(content.value) is dict else ():
            if type(name) is str and not role_of(name):
                found.others.setdefault(name, item)
    _add_unnamed(found, alone)
    return found


def is_generator(network: Network) -> bool:
    """Whether a network is a generator, by the names of its parts."""
    if not isinstance(network, Node):
        return any(type(key) is str and GENERATOR.fullmatch(key) for key in network)
    if network.kind != TENSORFLOW:
        return "synthesis" in _children(network)
    parts, variables = network.get("components"), network.get("variables")
    pairs = variables if type(variables) is list else []
    names = [pair[0] for pair in pairs if type(pair) is tuple and pair]
    named = any(type(name) is str and GENERATOR.fullmatch(name) for name in names)
    return named or type(parts) is dict and "synthesis" in parts


def without_wrappers(state: State) -> State:
    """A state dict without the prefixes that wrappers add to all names."""
    state = {key: value for key, value in state.items() if key != COUNT}
    inner = _without_prefix(state, (*WRAPPERS, *MODELS))
    return inner if is_generator(inner) else _without_prefix(state, WRAPPERS)


def _without_prefix(state: State, known: Sequence[str]) -> State:
    """A state dict without the longest prefix of these words that all its names have."""
    words = str(next(iter(state), "")).split(".", MAX_WRAPPERS)[:-1]
    inner = next((i for i, word in enumerate(words) if word not in known), len(words))
    for count in range(inner, 0, -1):
        prefix = ".".join(words[:count]) + "."
        if all(str(key).startswith(prefix) for key in state):
            return {key[len(prefix) :]: value for key, value in state.items()}
    return state


def _unwrapped(value: Any) -> Any:
    """A module without the modules of wrappers around it; any other value."""
    for _ in range(MAX_WRAPPERS):
        children = _children(value)
        if len(children) != 1 or next(iter(children)) not in WRAPPERS:
            break
        value = next(iter(children.values()))
    return value


def _length(value: Any) -> int:
    """How many names it takes to tell what a value is. Many values may share the same names."""
    if type(value) is not Node:
        return len(value) if type(value) in (dict, list, tuple) else 1
    variables = value.get("variables")
    return 1 + len(_children(value)) + (len(variables) if type(variables) is list else 0)


def _open(original: Any, value: Any) -> _Content:
    """Args: original: a value; value: without wrappers."""
    if not _is_state(value):
        return _Content(original, value)
    state = without_wrappers(value)
    parts = _parts(state)
    return _Content(original, parts or state, not parts, bool(parts))


def _as_network(content: _Content, named: bool) -> Network | None:
    """The network that a value is, if it is one. Args: named: whether it has a role."""
    value = content.value
    if type(value) is Node:
        if value.kind == TENSORFLOW or is_generator(value):
            return value
        children = {k: v for k, v in _children(value).items() if type(v) is Node and role_of(k)}
        several = any(map(is_generator, children.values()))
        is_module = type(value.state) is dict and {"_modules", "_parameters"} & value.state.keys()
        return value if not several and (is_module or named and not value.items) else None
    if type(value) is not dict:
        return None
    damaged = named and not content.several and _has_names(value)
    return value if content.is_state or damaged else None


def _items(value: Any) -> dict[Any, Any]:
    """What a container holds, by key or position."""
    if type(value) in (list, tuple):
        return dict(enumerate(value[:MAX_ENTRIES]))
    if type(value) is Node:
        items = value.items if type(value.items) is dict else {}
        items = items or dict(enumerate(value.items or ()))
        return items or _children(value) or (value.state if type(value.state) is dict else {})
    return value if type(value) is dict else {}


def _inside(place: _Place, container: Any, items: dict[Any, Any]) -> Iterator[_Place]:
    """The places in a container, the most certain names first."""
    published = type(container) is tuple and len(container) == len(TUPLE)
    if published and any(type(n) is Node and n.kind == TENSORFLOW for n in container):
        items = dict(zip(TUPLE, container))
    for key in sorted(items, key=rank_of):
        role, named = role_of(key), type(key) is str and key not in UNNAMED
        if not role and not named:
            role = place.role
        certain = place.certain and not named
        yield _Place(items[key], role, certain, place.level + 1)


def _add_unnamed(found: Found, alone: list[Network]) -> None:
    """Give networks without a name their roles, if no generator has a name."""
    if not alone or {"G_ema", "G"} & set(found.roles):
        return
    generators = [network for network in alone if is_generator(network)]
    others = [network for network in alone if not is_generator(network)]
    found.unnamed = True
    found.add("G_ema", (generators or others)[-1])
    if len(generators) > 1:
        found.add("G", generators[0])
    if generators and others:
        found.add("D", others[0])


def _parts(state: State) -> dict[str, Any]:
    """A state dict of several networks, such as generator.* and discriminator.*, as {name of a
    network: state dict} and the other tensors. It is empty if names begin with no network."""
    parts: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for key, value in state.items():
        first, _, rest = key.partition(".") if type(key) is str else ("", "", "")
        if role_of(first) and rest:
            parts.setdefault(first, {})[rest] = value
        else:
            others[key] = value
    return {**others, **parts} if parts else {}


def _children(value: Any) -> dict[Any, Any]:
    """The modules in a module, by name."""
    state = value.state if type(value) is Node else None
    children = state.get("_modules") if type(state) is dict else None
    return children if type(children) is dict else {}


def _has_names(value: dict[Any, Any]) -> bool:
    """Whether a dictionary has dotted names: all of them, or those of tensors."""
    dotted = [key for key in value if type(key) is str and "." in key]
    return bool(value) and (
        len(dotted) == len(value) or any(isinstance(value[key], Array) for key in dotted)
    )


def _is_state(value: object) -> bool:
    """Whether a value is a dictionary with tensors under dotted names."""
    return (
        type(value) is dict
        and all(type(key) is str for key in value)
        and any("." in key and isinstance(item, Array) for key, item in value.items())
    )
