# SPDX-License-Identifier: Apache-2.0
"""Networks from presets or configs."""

import dataclasses

import torch
from torch.overrides import TorchFunctionMode

from stylegan.config import Config, default_channel_base, preset
from stylegan.errors import UserError
from stylegan.models import stylegan2, stylegan3
from stylegan.models.discriminator import Discriminator
from stylegan.models.generator import Generator
from stylegan.models.layers import block_resolutions

SYNTHESES = {"stylegan2": stylegan2.Synthesis, "stylegan3": stylegan3.Synthesis}  # by config.model


def build_generator(config="auto", **fields):
    """A generator with fresh weights.

    Args:
        config: a preset's name, a `Config`, a `GeneratorConfig` or a `Stylegan3Config`.
        fields: any field of the network's config to replace: `resolution=256, channel_base=16384`.
    Returns: `Generator` on the CPU, in training mode.
    Raises: UserError (a ValueError) for a preset or a field that does not exist or does not fit.
    """
    config = _part("G", config, fields)
    return Generator(config, SYNTHESES[config.model](config))


def build_discriminator(config="auto", **fields):
    """A discriminator with fresh weights; arguments as `build_generator`, fields of
    `DiscriminatorConfig`."""
    return Discriminator(_part("D", config, fields))


class Unfilled(TorchFunctionMode):
    """Within it networks are built with whatever their memory holds, for weights that are about to
    come; on the meta device for their shapes alone."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.div_:
            return args[0]
        random = function in (torch.randn, torch.rand)
        return (torch.empty if random else function)(*args, **(kwargs or {}))


def _part(name, config, fields):
    """The config of network `name` ("G" or "D") with `fields` replaced and nothing left open."""
    if isinstance(config, str):
        config = preset(config)
    if isinstance(config, Config):
        config = getattr(config, name)
    known = [f.name for f in dataclasses.fields(config)]
    for field in fields:
        if field not in known:
            raise UserError(
                type(config).__name__, f"no field {field!r}; there are {', '.join(known)}"
            )
    config = dataclasses.replace(config, **fields)
    widths = getattr(config, "widths", None)
    if widths and len(widths) != len(block_resolutions(config.resolution)):
        count = len(block_resolutions(config.resolution))
        raise UserError("widths", f"expected {count}, one for every block, got {len(widths)}")
    if config.channel_base is None:
        base = default_channel_base(config.resolution)
        config = dataclasses.replace(config, channel_base=base)
    return config
