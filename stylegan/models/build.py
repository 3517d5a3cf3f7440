# SPDX-License-Identifier: Apache-2.0
"""Networks from their settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.overrides import TorchFunctionMode

from stylegan.config import (
    DiscriminatorConfig,
    GeneratorConfig,
    Stylegan3Config,
    default_channel_base,
)
from stylegan.errors import UserError
from stylegan.models import stylegan2, stylegan3
from stylegan.models.discriminator import Discriminator
from stylegan.models.generator import Generator
from stylegan.models.sizes import blocks_of
from stylegan.words import shown

SYNTHESES = {"stylegan2": stylegan2.Synthesis, "stylegan3": stylegan3.Synthesis}  # by config.model

NetworkConfig = TypeVar(
    "NetworkConfig", bound=GeneratorConfig | Stylegan3Config | DiscriminatorConfig
)


def build_generator(config: GeneratorConfig | Stylegan3Config, **fields: Any) -> Generator:
    """A generator with fresh weights, on the CPU, in training mode.

    Args:
        config: the settings of its model.
        fields: fields of `config` to replace.
    Raises: UserError for a field that does not exist or a value that does not fit.
    """
    config = _complete(config, fields)
    return Generator(config, SYNTHESES[config.model](config))


def build_discriminator(config: DiscriminatorConfig, **fields: Any) -> Discriminator:
    """A discriminator with fresh weights; arguments as `build_generator`."""
    return Discriminator(_complete(config, fields))


class Unfilled(TorchFunctionMode):
    """Networks built inside it have uninitialized weights, to be read from a file. Combine it with
    the meta device if only shapes are needed."""

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if function is torch.Tensor.div_:
            return args[0]
        random = function in (torch.randn, torch.rand)
        return (torch.empty if random else function)(*args, **(kwargs or {}))


def _complete(config: NetworkConfig, fields: dict[str, Any]) -> NetworkConfig:
    """`config` with `fields` replaced and channel_base set."""
    if not isinstance(config, (GeneratorConfig, Stylegan3Config, DiscriminatorConfig)):
        raise UserError("config", f"expected settings of a network, got {shown(config)}")
    known = [f.name for f in dataclasses.fields(config)]
    for field in fields:
        if field not in known:
            raise UserError(
                type(config).__name__, f"no field {field!r}; there are {', '.join(known)}"
            )
    config = dataclasses.replace(config, **fields)
    widths = getattr(config, "widths", None)
    count = len(blocks_of(config)) if widths and not isinstance(config, Stylegan3Config) else 0
    if widths and len(widths) != count:
        raise UserError("widths", f"expected {count}, one for every block, got {len(widths)}")
    if config.channel_base is None:
        base = default_channel_base(config.resolution)
        config = dataclasses.replace(config, channel_base=base)
    return config
