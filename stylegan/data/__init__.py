# SPDX-License-Identifier: Apache-2.0
"""Images as data sets: what is in a folder or an archive, bringing it to one size, and reading it.

stylegan.data.describe("photos")
stylegan.data.prepare("photos", "photos.zip", resolution=64)
images = stylegan.data.ImageDataset("photos.zip")
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stylegan.data.api import Prepared, prepare
    from stylegan.data.dataset import ImageDataset
    from stylegan.data.description import Description, describe
    from stylegan.data.source import DEMOS, Problem

__all__ = [
    "DEMOS",
    "Description",
    "ImageDataset",
    "Prepared",
    "Problem",
    "describe",
    "prepare",
]

# Imported at first use; only ImageDataset needs torch.
_HOMES = {
    "DEMOS": "source",
    "Description": "description",
    "ImageDataset": "dataset",
    "Prepared": "api",
    "Problem": "source",
    "describe": "description",
    "prepare": "api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module 'stylegan.data' has no attribute {name!r}"
        raise AttributeError(message, name=name, obj=sys.modules[__name__])
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
