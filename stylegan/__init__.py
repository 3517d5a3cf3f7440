# SPDX-License-Identifier: Apache-2.0
"""StyleGAN and its variants on today's PyTorch: train, generate, edit.

pipe = stylegan.Pipeline.from_pretrained("runs/00000-fluent-emoji-64-32x32")
pipe(seeds=[1, 2], truncation_psi=0.7).images
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Imported at first use, so that `stylegan --help` does not wait for torch. For editors and type
# checkers, __init__.pyi has the same names.
_HOMES = {
    "CheckpointError": "stylegan.errors",
    "Config": "stylegan.config",
    "Networks": "stylegan.networks",
    "Pipeline": "stylegan.inference.pipeline",
    "PipelineOutput": "stylegan.inference.output",
    "UserError": "stylegan.errors",
    "build_discriminator": "stylegan.builders",
    "build_generator": "stylegan.builders",
    "load_networks": "stylegan.networks",
    "preset": "stylegan.config",
    "train": "stylegan.training.api",
    "tune_threads": "stylegan.threads",
}
_ROOMS = ("data",)  # public modules
_OTHER_NAMES = {  # that people try: what to write here
    "Dataset": "stylegan.data.ImageDataset",
    "Discriminator": "stylegan.build_discriminator",
    "Generator": "stylegan.build_generator",
    "ImageDataset": "stylegan.data.ImageDataset",
    "from_pretrained": "stylegan.Pipeline.from_pretrained",
    "generate": "stylegan.Pipeline.from_pretrained",
    "load": "stylegan.load_networks or stylegan.Pipeline.from_pretrained",
    "load_pretrained": "stylegan.Pipeline.from_pretrained",
}
__all__ = ["__version__", *_HOMES, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        hint = f"; there is {_OTHER_NAMES[name]}" if name in _OTHER_NAMES else ""
        message = f"module 'stylegan' has no attribute {name!r}{hint}"
        raise AttributeError(message, name=name, obj=sys.modules[__name__])
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
