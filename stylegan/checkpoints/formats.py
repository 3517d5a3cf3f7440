# SPDX-License-Identifier: Apache-2.0
"""What all readers share: the networks that a file contains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from stylegan.checkpoints.pickle.arrays import Array, Derived, TensorSource
from stylegan.checkpoints.pickle.nodes import is_name
from stylegan.config import Config, DiscriminatorConfig, GeneratorConfig, Stylegan3Config
from stylegan.models.build import Unfilled, build_discriminator, build_generator
from stylegan.models.sizes import min_side_of
from stylegan.words import one_line

MAX_GROWTH = 4  # times the file's memory that a network may take; float16 takes twice
FREE_BYTES = 1 << 20  # that any network may take, however small its file
MAX_SIDE = 64  # px, of the shorter side of a smallest block
NO_AVERAGE = "there is no averaged generator (G_ema), so G draws the images"
NO_GENERATOR = "the file has only a discriminator; images need G_ema or G"
HAS_EXTRA = "has the unexpected tensor"

Tensors = dict[str, TensorSource]


@dataclass
class Checkpoint:
    """The networks of a file.

    Attributes:
        format: which program writes such files.
        family: what the networks are, for people.
        stored: {"G_ema", "G" or "D": {their name: tensor}} of the networks in the file.
        tensors: the same under our names, of the networks that can be built; None if no generator
            can be built here.
        reason: why no generator can be built.
        config: what they are built from; None if no generator can be built.
        unbuilt: {name of a network: why it cannot be built}, if a generator can be built.
        notes: what else a user should know, one line each.
        meta: JSON for a snapshot: data set, ADA's p.
        recorded: "resolution" and "channels" as the file names them.
        code: characters of source text in the file, which is not run.
    """

    format: str
    family: str
    stored: dict[str, Any]
    tensors: dict[str, Tensors] | None = None
    config: Config | None = None
    reason: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    recorded: dict[str, int] = field(default_factory=dict)
    code: int = 0
    unbuilt: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def check(self, name: str, tensors: Tensors, config: Config) -> None:
        """Compare the names and shapes of a network with those that its settings give.

        Args: name: of the network; tensors: under our names.
        Raises: ValueError that names the first difference.
        """
        check_growth(name, tensors)
        with torch.device("meta"), Unfilled():
            expected = {k: tuple(v.shape) for k, v in _empty(name, config).state_dict().items()}
        missing, extra = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
        if missing or extra:
            what, which = ("lacks", missing) if missing else (HAS_EXTRA, extra)
            more = f" and {len(which) - 1} more" if len(which) > 1 else ""
            raise ValueError(f"{name} {what} {min(which)}{more}")
        for key, shape in expected.items():
            found = tensors[key]
            if found.shape != shape and not (found.numel == 1 and shape in ((), (1,))):
                raise ValueError(
                    f"{name}.{key} is {str(list(found.shape))[:60]}, expected {list(shape)}"
                )

    def leave_out(self, name: str, reason: object) -> None:
        """Note that one network cannot be built. Args: reason: an exception or text."""
        self.unbuilt[name] = one_line(reason, 300)
        if self.tensors is not None:
            self.tensors.pop(name, None)

    def fail(self, reason: object) -> None:
        """Note that no generator can be built. Args: reason: an exception or text."""
        self.reason = one_line(reason, 300)
        self.tensors = self.config = None

    def remarks(self) -> list[str]:
        """What a user should know about the networks that can be built, one line each."""
        lines = list(self.notes)
        for name, reason in self.unbuilt.items():
            lines.append(f"{name} cannot be built: {reason}")
        if self.tensors is not None and "G_ema" not in self.tensors:
            lines.append(NO_AVERAGE)
        return lines

    def number_classes(self) -> None:
        """Name the classes by their numbers, if the file has no names for them."""
        assert self.config is not None
        count = self.config.G.c_dim
        if count > 1 and not self.meta.get("dataset", {}).get("class_names"):
            self.meta.setdefault("dataset", {})["class_names"] = [str(i) for i in range(count)]

    def parameters(self, name: str) -> int:
        """Number of parameters of a network that can be built."""
        assert self.config is not None
        with torch.device("meta"), Unfilled():
            return sum(p.numel() for p in _empty(name, self.config).parameters())

    def read(self, name: str) -> torch.nn.Module | None:
        """A network with its weights, on the CPU; None if the file does not contain it, or it
        cannot be built."""
        assert self.tensors is not None and self.config is not None
        if name not in self.tensors:
            return None
        with Unfilled():
            network = _empty(name, self.config)
        with torch.no_grad():
            for key, value in network.state_dict().items():
                value.copy_(self.tensors[name][key].read().reshape(value.shape))
        return network


class WritableNetworks(Protocol):
    """What a writer needs of `stylegan.networks.Networks`."""

    config: Config
    meta: dict[str, Any]

    @property
    def G(self) -> torch.nn.Module | None:
        """The generator in training."""

    @property
    def D(self) -> torch.nn.Module | None:
        """The discriminator."""

    @property
    def G_ema(self) -> torch.nn.Module | None:
        """The averaged generator."""


def _empty(name: str, config: Config) -> torch.nn.Module:
    return build_discriminator(config.D) if name == "D" else build_generator(config.G)


def fresh_discriminator(G: GeneratorConfig | Stylegan3Config) -> DiscriminatorConfig:
    """Settings of a new discriminator for a generator whose file has none."""
    return DiscriminatorConfig(
        resolution=G.resolution, channels=G.channels, c_dim=G.c_dim, channel_base=G.channel_base
    )


def tensors_by_name(state: Any, network: str) -> dict[str, Array]:
    """A state dict. Raises: ValueError if it is anything else than readable tensors by name."""
    if type(state) is not dict or not all(map(is_name, state)):
        raise ValueError(f"{network} is not a dictionary of named tensors")
    for key, value in state.items():
        if not isinstance(value, Array):
            raise ValueError(f"{network}.{key} is not a tensor")
        if value.unreadable:
            raise ValueError(f"{network}.{key}: {value.unreadable}")
    return state


def check_growth(name: str, tensors: Mapping[str, TensorSource]) -> None:
    """Refuse tensors that overlap so much that a small file would give a large network.

    Raises: ValueError.
    """
    total = size = 0
    for array in tensors.values():
        while isinstance(array, Derived):
            array = array.array
        if isinstance(array, Array):
            data = array.storage.data
            size = max(size, 0 if data is None or isinstance(data, bytes) else data.file.size)
            total += max(array.extent * array.dtype.itemsize, array.numel * 4)
    if total > MAX_GROWTH * size + FREE_BYTES:
        raise ValueError(f"{name}: its tensors are the same numbers, used many times")


def shape_of(smallest: Sequence[int], blocks: int, resolution: int) -> dict[str, Any]:
    """`resolution` and `min_block_side` of a network, from the size of its constant.

    Args:
        smallest: height and width of the constant.
        blocks: number of blocks.
        resolution: side of the images if they are square.
    """
    if len(smallest) != 2 or tuple(smallest) == (4, 4) or not 0 < min(smallest) <= MAX_SIDE:
        return {"resolution": (resolution, resolution)}
    height, width = smallest
    size = (height << blocks - 1, width << blocks - 1)
    return {"resolution": size, "min_block_side": min_side_of(size, (height, width))}


def widths_of(widths: Sequence[int], channel_base: int, channel_max: int) -> tuple[int, ...] | None:
    """`GeneratorConfig.widths` for the channels of all blocks, from the smallest resolution.

    Returns: None if they follow from channel_base and channel_max.
    """
    ruled = [max(1, min(channel_base // (4 << i), channel_max)) for i in range(len(widths))]
    return None if list(widths) == ruled else tuple(widths)


def channel_fields(widths: Sequence[int]) -> dict[str, Any]:
    """channel_base, channel_max and widths of a config, from the channels of all blocks, smallest
    resolution first. The widths are None if they follow from the others."""
    top = max(widths)
    falling = [width * (4 << i) for i, width in enumerate(widths) if width < top]
    base = max(falling, default=top * (2 << len(widths)))
    return {"channel_base": base, "channel_max": top, "widths": widths_of(widths, base, top)}
