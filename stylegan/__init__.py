# SPDX-License-Identifier: Apache-2.0
"""StyleGAN and its variants on today's PyTorch: train, generate, edit.

pipe = stylegan.Pipeline.from_pretrained("runs/00000-fluent-emoji-64-32x32")
pipe(seeds=[1, 2], truncation_psi=0.7).images
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Imported at first use, so that `stylegan --help` does not wait for torch.
_HOMES = {
    "CheckpointError": "stylegan.errors",
    "Config": "stylegan.config",
    "Networks": "stylegan.networks",
    "Pipeline": "stylegan.inference.pipeline",
    "PipelineOutput": "stylegan.inference.records",
    "UserError": "stylegan.errors",
    "build_discriminator": "stylegan.networks",
    "build_generator": "stylegan.networks",
    "load_networks": "stylegan.networks",
    "preset": "stylegan.config",
    "tune_threads": "stylegan.threads",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'stylegan' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
