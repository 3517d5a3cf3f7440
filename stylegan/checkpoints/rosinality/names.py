# SPDX-License-Identifier: Apache-2.0
"""The names and shapes of tensors in rosinality's networks and in ours.

Both have the same tensors, some of them in other shapes. Nothing is flipped: the weights have the
orientation of NVIDIA's PyTorch networks, and not that of the TensorFlow ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stylegan.config import Config, GeneratorConfig
from stylegan.models.sizes import blocks_of

Shape = tuple[int, ...]
PARTS = {"G_ema": "g_ema", "G": "g", "D": "d"}
OURS = "stylegan"  # key of our settings, for which their format has no key
SAME, LEADING, IMAGE, CHANNELS, NUMBER = "same", "leading", "image", "channels", "number"


@dataclass(frozen=True)
class TensorName:
    """The two names of a tensor.

    Attributes:
        ours, theirs: its name in our network and in rosinality's.
        kind: how the shapes differ.
    """

    ours: str
    theirs: str
    kind: str = SAME

    def their_shape(self, shape: Shape) -> Shape:
        """The shape in rosinality's network. Args: shape: in ours."""
        return {
            SAME: shape,
            LEADING: (1, *shape),
            IMAGE: (1, 1, *shape),
            CHANNELS: (1, *shape, 1, 1),
            NUMBER: (1,),
        }[self.kind]

    def our_shape(self, shape: Shape) -> Shape:
        """The shape in our network. Args: shape: in rosinality's."""
        return {
            SAME: shape,
            LEADING: shape[1:],
            IMAGE: shape[2:],
            CHANNELS: shape[1:2],
            NUMBER: (),
        }[self.kind]


def names_of(name: str, config: Config) -> Iterator[TensorName]:
    """All tensors of "G_ema", "G" or "D"."""
    return names_D(config) if name == "D" else names_G(config)


def names_G(config: Config) -> Iterator[TensorName]:
    """All tensors of a generator."""
    for i in range(config.G.mapping_layers):
        for part in ("weight", "bias"):
            yield TensorName(f"mapping.fc{i}.{part}", f"style.{i + 1}.{part}")
    yield TensorName("synthesis.b4.const", "input.input", LEADING)
    assert isinstance(config.G, GeneratorConfig)
    blocks = len(blocks_of(config.G))
    for i in range(blocks):
        block = f"synthesis.b{4 << i}"
        if i:
            yield from _layer(f"{block}.conv0", f"convs.{2 * i - 2}", 2 * i - 1)
        yield from _layer(f"{block}.conv1", f"convs.{2 * i - 1}" if i else "conv1", 2 * i)
        theirs = f"to_rgbs.{i - 1}" if i else "to_rgb1"
        yield TensorName(f"{block}.torgb.bias", f"{theirs}.bias", CHANNELS)
        yield from _convolution(f"{block}.torgb", theirs)


def _layer(ours: str, theirs: str, noise: int) -> Iterator[TensorName]:
    yield from _convolution(ours, theirs)
    yield TensorName(f"{ours}.noise_strength", f"{theirs}.noise.weight", NUMBER)
    yield TensorName(f"{ours}.bias", f"{theirs}.activate.bias")
    yield TensorName(f"{ours}.noise_const", f"noises.noise_{noise}", IMAGE)


def _convolution(ours: str, theirs: str) -> Iterator[TensorName]:
    yield TensorName(f"{ours}.weight", f"{theirs}.conv.weight", LEADING)
    for part in ("weight", "bias"):
        yield TensorName(f"{ours}.affine.{part}", f"{theirs}.conv.modulation.{part}")


def names_D(config: Config) -> Iterator[TensorName]:
    """All tensors of a discriminator."""
    size = max(blocks_of(config.D))
    yield TensorName(f"b{size}.fromrgb.weight", "convs.0.0.weight")
    yield TensorName(f"b{size}.fromrgb.bias", "convs.0.1.bias")
    for i in range((size // 4).bit_length() - 1):
        ours, theirs = f"b{size >> i}", f"convs.{i + 1}"
        yield TensorName(f"{ours}.conv0.weight", f"{theirs}.conv1.0.weight")
        yield TensorName(f"{ours}.conv0.bias", f"{theirs}.conv1.1.bias")
        yield TensorName(f"{ours}.conv1.weight", f"{theirs}.conv2.1.weight")
        yield TensorName(f"{ours}.conv1.bias", f"{theirs}.conv2.2.bias")
        yield TensorName(f"{ours}.skip.weight", f"{theirs}.skip.1.weight")
    yield TensorName("b4.conv.weight", "final_conv.0.weight")
    yield TensorName("b4.conv.bias", "final_conv.1.bias")
    for ours, theirs in (("fc", "final_linear.0"), ("out", "final_linear.1")):
        for part in ("weight", "bias"):
            yield TensorName(f"b4.{ours}.{part}", f"{theirs}.{part}")
