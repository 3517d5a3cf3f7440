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
from stylegan.checkpoints.assemble import GENERATORS, assemble, each_readable
from stylegan.checkpoints.find import TENSORFLOW, Found
from stylegan.checkpoints.formats import NO_GENERATOR, Checkpoint, Tensors
from stylegan.checkpoints.metadata import recorded
from stylegan.checkpoints.pickle.arrays import Array, storage_of
from stylegan.checkpoints.pickle.nodes import MAX_NODES, Node
from stylegan.checkpoints.tensorflow.settings import discriminator_config, generator_config
from stylegan.checkpoints.tensorflow.variables import our_tensors
from stylegan.config import Config, DiscriminatorConfig, GeneratorConfig, Stylegan3Config

FORMAT = "NVIDIA TensorFlow .pkl"
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


def recognises(found: Found) -> bool:
    """Whether a file holds networks of this kind."""
    return any(node.kind == TENSORFLOW for node in found.modules.values())


def read(found: Found) -> Checkpoint:
    """The networks of such a file.

    Raises: ValueError if none of its generators is a network.
    """
    contents, failed = each_readable(found, lambda name: _contents(found.modules.get(name), name))
    main = next((name for name in GENERATORS if name in contents), None)
    stored = {name: content.variables for name, content in contents.items()}
    settings = {name: Arguments(content.arguments, name) for name, content in contents.items()}
    result = Checkpoint(FORMAT, "unknown", stored)
    first = main or next(iter(contents))
    names = {"resolution": "resolution", "channels": "num_channels"}
    result.recorded = recorded(settings[first].values, **names)
    family = _family(found.modules[first], stored[first])
    result.family, result.reason = family.name, family.reason
    if main is None:
        result.reason = NO_GENERATOR
    if result.reason:
        if "G_ema" in failed:  # what is wrong with it tells more
            raise failed["G_ema"]
        return result
    for name, error in failed.items():
        result.leave_out(name, error)
    assemble(result, _Reader(stored, settings))
    return result


@dataclass(frozen=True)
class _Reader:
    """Reads one network. Attributes: stored, settings: variables and arguments of all networks."""

    stored: dict[str, dict[str, Array]]
    settings: dict[str, Arguments]

    def generator(self, name: str) -> GeneratorConfig:
        return generator_config(self._tensors(name), self.settings[name])

    def discriminator(self, G: GeneratorConfig | Stylegan3Config) -> DiscriminatorConfig:
        assert isinstance(G, GeneratorConfig)  # StyleGAN3 was never written in TensorFlow
        return discriminator_config(self._tensors("D"), self.settings["D"], G)

    def tensors(self, name: str, config: Config) -> Tensors:
        return self._tensors(name)

    def _tensors(self, name: str) -> Tensors:
        return our_tensors(self.stored[name], self.settings[name])


def _is_network(node: object) -> bool:
    return type(node) is Node and node.kind == TENSORFLOW and type(node.state) is dict


def _contents(root: object, name: str) -> Contents:
    """What a network contains. Of two variables or arguments with one name, the outer one counts.

    Raises: ValueError if this is not a tree of networks.
    """
    if not _is_network(root):
        raise ValueError(f"{name}: expected a {TENSORFLOW}, got {show(root)}")
    found, count = Contents({}, {}), 0
    todo: list[tuple[object, str]] = [(root, "")]
    for node, prefix in todo:
        if not isinstance(node, Node) or not _is_network(node) or node.state is None:
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
    if value.unreadable:
        raise ValueError(f"{where}: {value.unreadable}")
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
