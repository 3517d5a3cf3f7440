# SPDX-License-Identifier: Apache-2.0
"""Networks with fresh weights, from a preset or settings."""

from __future__ import annotations

from typing import Any

from stylegan.config import Config, DiscriminatorConfig, GeneratorConfig, Stylegan3Config, preset
from stylegan.models import build
from stylegan.models.discriminator import Discriminator
from stylegan.models.generator import Generator


def build_generator(
    config: str | Config | GeneratorConfig | Stylegan3Config = "auto", **fields: Any
) -> Generator:
    """A generator with fresh weights, on the CPU, in training mode.

    Args:
        config: a preset's name, a `Config`, a `GeneratorConfig` or a `Stylegan3Config`.
        fields: fields of the network's config to replace: `resolution=256, channel_base=16384`.
    Raises: UserError (a ValueError) for a preset or a field that does not exist, or a value that
        does not fit.
    """
    if isinstance(config, str):
        config = preset(config)
    return build.build_generator(config.G if isinstance(config, Config) else config, **fields)


def build_discriminator(
    config: str | Config | DiscriminatorConfig = "auto", **fields: Any
) -> Discriminator:
    """A discriminator with fresh weights; arguments as `build_generator`, fields of
    `DiscriminatorConfig`."""
    if isinstance(config, str):
        config = preset(config)
    return build.build_discriminator(config.D if isinstance(config, Config) else config, **fields)
