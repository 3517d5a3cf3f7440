# SPDX-License-Identifier: Apache-2.0
"""Pickles of NVIDIA's PyTorch repositories: StyleGAN2-ADA, StyleGAN3 and their descendants.

These files contain the modules' attributes, and the source text that made the modules. The
attributes tell all that is needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from stylegan.checkpoints.arguments import Arguments
from stylegan.checkpoints.assemble import GENERATORS, assemble, each_readable
from stylegan.checkpoints.find import TENSORFLOW, Found
from stylegan.checkpoints.formats import NO_GENERATOR, Checkpoint, Tensors
from stylegan.checkpoints.metadata import data_set, own_meta, recorded
from stylegan.checkpoints.nvidia.settings import (
    POSITIONAL,
    POSITIONAL_D,
    actual,
    discriminator_config,
    generator_config,
    line_of,
)
from stylegan.checkpoints.pickle.arrays import Array, Derived, TensorSource
from stylegan.checkpoints.pickle.nodes import Node, tensors_of
from stylegan.config import (
    Config,
    DiscriminatorConfig,
    GeneratorConfig,
    Stylegan3Config,
)
from stylegan_ops import setup_filter

FORMAT = "NVIDIA PyTorch .pkl"
LR_MULTIPLIER = 0.01  # of our mapping networks
PARTS = {"mapping", "synthesis"}  # of a generator
NO_STYLEGAN = "not a network of StyleGAN2 or StyleGAN3: mapping and synthesis are missing"


def recognises(found: Found) -> bool:
    """Whether a file holds modules of PyTorch."""
    return any(node.kind != TENSORFLOW for node in found.modules.values())


def read(found: Found) -> Checkpoint:
    """The networks of such a file.

    Raises: ValueError if none of its generators is a tree of modules.
    """
    stored, failed = each_readable(found, lambda name: tensors_of(found.modules.get(name), name))
    generators = [name for name in GENERATORS if name in stored]
    result = Checkpoint(FORMAT, "", stored, meta=_meta(found.others))
    nodes = [found.modules[name] for name in generators]
    main = next((node for node in nodes if _is_stylegan(node)), nodes[0] if nodes else None)
    if main:
        names = {"resolution": "img_resolution", "channels": "img_channels"}
        result.recorded = recorded({**main.arguments(POSITIONAL), **(main.state or {})}, **names)
    if main is None or not _is_stylegan(main):
        if "G_ema" in failed:  # what is wrong with it tells more
            raise failed["G_ema"]
        nodes = [node for name, node in found.modules.items() if name in stored]
        _name_family(result, nodes)
        return result
    for name, error in failed.items():
        result.leave_out(name, error)
    assemble(result, _Reader(found.modules, stored))
    result.family = result.family or "unknown"
    return result


def _name_family(result: Checkpoint, nodes: list[Node]) -> None:
    """Family and reason of networks that are neither StyleGAN2 nor StyleGAN3."""
    result.family = "unknown"
    result.reason = NO_STYLEGAN
    modules = {node.kind for node in nodes if node.kind.startswith("torch.nn.")}
    if modules:
        result.format = "PyTorch module"
        result.reason = f"holds a {min(modules)[:80]}, not a network of StyleGAN2 or StyleGAN3"
    if any("R3GAN" in kind for node in nodes for kind in kinds_of(node)):
        result.family, result.reason = "R3GAN", "R3GAN is not supported yet"
    elif set(result.stored) == {"D"}:
        result.reason = NO_GENERATOR


def kinds_of(node: Node) -> Iterator[str]:
    """Class names of the modules below a node that `tensors_of` has read."""
    todo = [node]
    while todo:
        node = todo.pop()
        yield node.kind
        todo += [child for child in node.holder("_modules").values() if child is not None]


@dataclass(frozen=True)
class _Reader:
    """Reads one network. Attributes: nodes, stored: the networks and their tensors."""

    nodes: dict[str, Node]
    stored: dict[str, dict[str, Array]]

    def generator(self, name: str) -> GeneratorConfig | Stylegan3Config:
        node = self.nodes[name]
        _check_stylegan(node)
        return generator_config(node, self.stored[name], line_of(node))

    def discriminator(self, G: GeneratorConfig | Stylegan3Config) -> DiscriminatorConfig:
        node = self.nodes["D"]
        if node.unknown:
            raise ValueError(_unknown(node))
        generators = [self.nodes[name] for name in ("G_ema", "G") if name in self.stored]
        main = next(filter(_is_stylegan, generators))
        return discriminator_config(node, self.stored["D"], line_of(main), G)

    def tensors(self, name: str, config: Config) -> Tensors:
        if name != "D":
            _check_stylegan(self.nodes[name])
        tensors = _tensors(name, self.nodes[name], self.stored[name])
        _check_filters(name, self.stored[name], config.D if name == "D" else config.G)
        return tensors


def _is_stylegan(node: Node) -> bool:
    return node.holder("_modules").keys() >= PARTS


def _check_stylegan(node: Node) -> None:
    """Raises: ValueError if a node is no generator of StyleGAN2 or StyleGAN3."""
    if not _is_stylegan(node):
        raise ValueError(_unknown(node) if node.unknown else NO_STYLEGAN)


def _unknown(node: Node) -> str:
    return f"the class {node.kind} is not known here"


def _meta(others: dict[str, Any]) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    if type(others.get("training_set_kwargs")) is dict:
        meta["dataset"] = data_set(others["training_set_kwargs"])
    pipe = others.get("augment_pipe")
    if type(pipe) is Node:
        try:
            p = tensors_of(pipe, "augment_pipe").get("p")
        except ValueError:
            p = None  # an augmentation of another program
        if p is not None and p.numel == 1:
            meta |= own_meta({"augment_p": float(p.read().reshape(()))})
    return meta


def _tensors(name: str, node: Node, stored: dict[str, Array]) -> Tensors:
    """Tensors under our names, without the filters, which follow from the settings.

    NVIDIA's discriminators from TensorFlow have a mapping network with another learning rate
    multiplier. Its parameters are scaled, which keeps its outputs.
    """
    result: Tensors = {k: v for k, v in stored.items() if not k.endswith("resample_filter")}
    dense = [k for k in result if re.fullmatch(r"mapping\.fc\d+\.(weight|bias)", k)]
    if not dense:
        return result
    given = Arguments(node.arguments(POSITIONAL_D if name == "D" else POSITIONAL), name)
    arguments = given.nested("mapping_kwargs")
    layer = actual(node.child("mapping", "fc0"), arguments, "activation", "bias_gain")
    layer.choice("activation", "lrelu", ("lrelu",))
    multiplier = layer.number("lr_multiplier", LR_MULTIPLIER, 1e-6, 1e6)
    factor = layer.number("bias_gain", multiplier, 1e-6, 1e6) / LR_MULTIPLIER
    if abs(factor - 1) > 1e-6:
        for key in dense:
            result[key] = _scaled(result[key], factor)
    return result


def _scaled(array: TensorSource, factor: float) -> Derived:
    scale: Callable[[torch.Tensor], torch.Tensor] = lambda x: x * factor
    return Derived(array, array.shape, scale)


def _check_filters(
    name: str,
    tensors: dict[str, Array],
    config: GeneratorConfig | Stylegan3Config | DiscriminatorConfig,
) -> None:
    """Compare the low-pass filters with the settings in all layers that resample.

    Other layers have a filter that they do not use.
    """
    if isinstance(config, Stylegan3Config):
        return
    layer = "conv1" if name == "D" else "conv0"
    used = re.compile(rf"(synthesis\.)?b\d+\.(({layer}|skip)\.)?resample_filter")
    for key, array in tensors.items():
        if not used.fullmatch(key):
            continue
        expected = setup_filter(config.resample_filter, separable=len(array.shape) == 1)
        same = array.shape == tuple(expected.shape) and array.dtype.is_floating_point
        rounding = torch.finfo(array.dtype).eps if same else 0
        if not same or not torch.allclose(array.read().float(), expected, rounding, 1e-6):
            raise ValueError(f"{name}.{key} is not the filter {config.resample_filter}")
