# SPDX-License-Identifier: Apache-2.0
"""Pickles of NVIDIA's PyTorch repositories: StyleGAN2-ADA, StyleGAN3 and their descendants.

These files contain the modules' attributes, and the source text that made the modules. The
attributes tell all that is needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import torch

from stylegan.checkpoints.arguments import Arguments
from stylegan.checkpoints.formats import Checkpoint, Tensors, fresh_discriminator
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
NETWORKS = ("G_ema", "G", "D")
LR_MULTIPLIER = 0.01  # of our mapping networks


def recognises(root: Any) -> bool:
    """Whether `root` is the value of such a file."""
    return type(root) is dict and any(type(root.get(name)) is Node for name in NETWORKS)


def read(root: dict[str, Any]) -> Checkpoint:
    """The networks in the value of such a file.

    Raises: ValueError for a network that is not a tree of modules.
    """
    nodes = {name: root[name] for name in NETWORKS if root.get(name) is not None}
    stored = {name: tensors_of(node, name) for name, node in nodes.items()}
    result = Checkpoint(FORMAT, "", stored, meta=_meta(root))
    main = nodes.get("G_ema") or nodes.get("G")
    children = main.holder("_modules") if main else {}
    if main:
        arguments = {**main.arguments(POSITIONAL), **main.state}
        names = {"resolution": "img_resolution", "channels": "img_channels"}
        result.recorded = recorded(arguments, **names)
    if not {"mapping", "synthesis"} <= children.keys():
        result.family, result.reason = (
            "unknown",
            ("not a network of StyleGAN2 or StyleGAN3: mapping and synthesis are missing"),
        )
        if any("R3GAN" in kind for node in nodes.values() for kind in kinds_of(node)):
            result.family, result.reason = "R3GAN", "R3GAN is not supported yet"
        return result
    assert main is not None
    try:
        _build(result, nodes, main)
    except ValueError as e:
        result.family = result.family or "unknown"
        result.fail(e)
        return result
    result.number_classes()
    return result


def kinds_of(node: Node) -> Iterator[str]:
    """Class names of the modules below a node that `tensors_of` has read."""
    todo = [node]
    while todo:
        node = todo.pop()
        yield node.kind
        todo += [child for child in node.holder("_modules").values() if child is not None]


def _build(result: Checkpoint, nodes: dict[str, Node], main: Node) -> None:
    """Set config and tensors. Raises: ValueError if our networks differ."""
    stored = result.stored
    line = line_of(main)
    G = generator_config(main, stored["G_ema" if "G_ema" in stored else "G"], line)
    if "D" in nodes:
        D = discriminator_config(nodes["D"], stored["D"], line)
    else:
        D = fresh_discriminator(G)
    result.config = Config(G=G, D=D)
    result.family = G.title
    result.tensors = {
        name: _tensors(name, nodes[name], tensors) for name, tensors in stored.items()
    }
    for name, tensors in stored.items():
        _check_filters(name, tensors, (D if name == "D" else G))
    result.check()


def _meta(root: dict[str, Any]) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    if type(root.get("training_set_kwargs")) is dict:
        meta["dataset"] = data_set(root["training_set_kwargs"])
    pipe = root.get("augment_pipe")
    if type(pipe) is Node:
        p = tensors_of(pipe, "augment_pipe").get("p")
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
