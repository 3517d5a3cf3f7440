# SPDX-License-Identifier: Apache-2.0
"""Networks in a few words, for people."""

from __future__ import annotations

from stylegan.config.network import DiscriminatorConfig, GeneratorConfig, Stylegan3Config
from stylegan.words import image_words


def network_words(config: GeneratorConfig | Stylegan3Config | DiscriminatorConfig) -> str:
    """What a network draws or judges: "StyleGAN2 64x64 RGB"."""
    name = config.title if isinstance(config, Stylegan3Config) else "StyleGAN2"
    return f"{name} {image_words(config.resolution, config.channels)}"
