# SPDX-License-Identifier: Apache-2.0
"""Settings: of networks, data and training, and presets of them. Nothing here imports torch."""

from stylegan.config.data import DataConfig
from stylegan.config.network import (
    ARCHITECTURES,
    MAX_MAPPING_LAYERS,
    MODELS,
    DiscriminatorConfig,
    GeneratorConfig,
    Stylegan3Config,
    default_channel_base,
)
from stylegan.config.presets import PRESETS, preset
from stylegan.config.run import KINDS, Config, owners
from stylegan.config.train import TrainConfig

__all__ = [
    "KINDS",
    "ARCHITECTURES",
    "MODELS",
    "MAX_MAPPING_LAYERS",
    "PRESETS",
    "Config",
    "DataConfig",
    "DiscriminatorConfig",
    "GeneratorConfig",
    "Stylegan3Config",
    "TrainConfig",
    "default_channel_base",
    "owners",
    "preset",
]
