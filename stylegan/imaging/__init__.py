# SPDX-License-Identifier: Apache-2.0
"""Pictures: tensors to images and back, sheets of images, and files. Needs no PyTorch to import."""

from __future__ import annotations

from stylegan.imaging.captions import can_write
from stylegan.imaging.convert import on_checkerboard, to_pil, to_tensor, to_uint8
from stylegan.imaging.files import exif_of, save_image
from stylegan.imaging.layout import Layout, columns_for, scale_of_frames
from stylegan.imaging.sheet import enlarged, grid

__all__ = [
    "Layout",
    "can_write",
    "columns_for",
    "enlarged",
    "exif_of",
    "grid",
    "on_checkerboard",
    "save_image",
    "scale_of_frames",
    "to_pil",
    "to_tensor",
    "to_uint8",
]
