# SPDX-License-Identifier: Apache-2.0
"""Pickles of NVIDIA's TensorFlow repositories: StyleGAN2 and StyleGAN2-ADA; StyleGAN1 as tensors.

A network consists of variables by name, recorded constructor arguments, component networks of the
same form, and source text, which is not read.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Any

import torch

from stylegan.checkpoints.arguments import Arguments, show
from stylegan.checkpoints.formats import Checkpoint, Tensors, fresh_discriminator
from stylegan.checkpoints.metadata import recorded
from stylegan.checkpoints.pickle.arrays import Array, storage_of
from stylegan.checkpoints.pickle.nodes import MAX_NODES, Node
from stylegan.checkpoints.tensorflow.settings import discriminator_config, generator_config
from stylegan.checkpoints.tensorflow.variables import our_tensors
from stylegan.config import Config

FORMAT = "NVIDIA TensorFlow .pkl"
NETWORK = "dnnlib.tflib.network.Network"
PARTS = ("G", "D", "G_ema")  # of the tuple; NVIDIA calls the last one Gs
NAMES = re.compile(r"[\w.>/-]{1,100}", re.ASCII)  # of variables, with those of their networks


@dataclass(frozen=True)
class Contents:
    """Variables and recorded arguments of a network and its components, by name."""

    variables: dict[str, Array]
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Family:
    """Attributes: name; reason: why such networks cannot be built here, or None."""

    name: str
    reason: str | None = None


def recognises(root: Any) -> bool:
    """Whether `root` is the value of such a file."""
    return type(root) is tuple and any(type(n) is Node and n.kind == NETWORK for n in root)


def read(root: tuple[Any, ...]) -> Checkpoint:
    """The networks in the value of such a file.

    Raises: ValueError for a value that is not a network.
    """
    if len(root) != len(PARTS):
        raise ValueError(f"expected a tuple of G, D and Gs, got {len(root)} values")
    nodes = {name: node for name, node in zip(PARTS, root) if node is not None}
    for name, node in nodes.items():
        if not _is_network(node):
            raise ValueError(f"{name}: expected a {NETWORK}, got {show(node)}")
    order = [name for name in ("G_ema", "G", "D") if name in nodes]
    contents = {name: _contents(nodes[name], name) for name in order}
    stored: dict[str, dict[str, Array]] = {name: contents[name].variables for name in order}
    settings = {name: Arguments(contents[name].arguments, name) for name in order}
    result = Checkpoint(FORMAT, "unknown", stored)
    main = order[0]
    names = {"resolution": "resolution", "channels": "num_channels"}
    result.recorded = recorded(settings[main].values, **names)
    family = _family(nodes[main], stored[main])
    result.family, result.reason = family.name, family.reason
    if result.reason:
        return result
    try:
        tensors: dict[str, Tensors] = {
            name: our_tensors(stored[name], settings[name]) for name in order
        }
        result.tensors = tensors
        G = generator_config(tensors[main], settings[main])
        if "D" in nodes:
            D = discriminator_config(tensors["D"], settings["D"])
        else:
            D = fresh_discriminator(G)
        result.config, result.family = Config(G=G, D=D), G.title
        result.check()
    except ValueError as e:
        result.fail(e)
        return result
    result.number_classes()
    return result


def _is_network(node: object) -> bool:
    return type(node) is Node and node.kind == NETWORK and type(node.state) is dict


def _contents(root: Node, name: str) -> Contents:
    """What a network contains. Of two variables or arguments with one name, the outer one counts.

    Raises: ValueError if this is not a tree of networks.
    """
    found, count = Contents({}, {}), 0
    todo = [(root, "")]
    for node, prefix in todo:
        if not _is_network(node) or node.state is None:
            raise ValueError(f"{name}: {prefix[:-1]} is not a network")
        own, parts = node.state.get("variables"), node.state.get("components", {})
        given = node.state.get("static_kwargs", {})
        if type(own) is not list or type(parts) is not dict or type(given) is not dict:
            where = prefix[:-1] or "the network"
            raise ValueError(f"{name}: {where} lacks variables or components")
        count += 1 + len(own) + len(parts) + len(given)
        if count > MAX_NODES:
            raise ValueError(f"{name}: more than {MAX_NODES:,} variables, components and arguments")
        for key, value in given.items():
            found.arguments.setdefault(key, value)
        for pair in own:
            if type(pair) is not tuple or len(pair) != 2:
                raise ValueError(f"{name}: a variable that is not a pair of name and array")
            variable, value = pair
            full = _full_name(prefix, variable, name)
            found.variables.setdefault(full, _array(value, f"{name}.{full}"))
        todo += [(part, _full_name(prefix, key, name) + "/") for key, part in parts.items()]
    return found


def _full_name(prefix: str, name: object, where: str) -> str:
    """The name of a variable or component from the outermost network on."""
    full = prefix + name if type(name) is str else ""
    if not NAMES.fullmatch(full):
        raise ValueError(f"{where}: an invalid variable name, {ascii(full)[:120]}")
    return full


def _array(value: object, where: str) -> Array:
    """An array. Variables without dimensions are numbers of Python in the file."""
    if type(value) in (int, float):
        try:
            return Array(storage_of(struct.pack("<f", value), torch.float32), 0, (), ())
        except (OverflowError, struct.error):
            raise ValueError(f"{where}: {value:.3g} does not fit in float32") from None
    if not isinstance(value, Array):
        raise ValueError(f"{where}: expected an array, got {show(value)}")
    return value


def _family(node: Node, variables: dict[str, Array]) -> Family:
    version = Arguments(node.state, "G").integer("version", 4, 0, 1000)
    if any("/StyleMod/" in name for name in variables) or version <= 3:
        return Family(
            "StyleGAN1",
            "StyleGAN1 is not supported yet; `stylegan convert --to safetensors` can write its "
            "tensors",
        )
    if not any(name.endswith("/mod_weight") for name in variables):
        return Family("unknown", "not a network of StyleGAN2: no layer has mod_weight")
    if any(name.startswith("mapping/LabelConcat/") for name in variables):
        return Family(
            "StyleGAN2",
            "its mapping network takes labels by LabelConcat, as in StyleGAN2 before ADA; only "
            "LabelEmbed of ADA is supported",
        )
    return Family("StyleGAN2")
