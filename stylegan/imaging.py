# SPDX-License-Identifier: Apache-2.0
"""Tensors in [-1, 1] to images and files, and back."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, PngImagePlugin

from stylegan.files import whole_file
from stylegan.words import ceil_div

if TYPE_CHECKING:  # reports and contact sheets need no torch
    import torch

IMAGE_DESCRIPTION = 0x010E  # the EXIF field


def to_tensor(pixels: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """uint8 [N, C, H, W] in 0..255 -> float32 in [-1, 1] on `device`."""
    return pixels.to(device, non_blocking=True).float() / 127.5 - 1


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """float [N, C, H, W] in [-1, 1] -> uint8 [N, H, W, C] on the CPU, rounded and clipped."""
    import torch

    pixels = (images.detach().float() * 127.5 + 127.5).round().clamp(0, 255)
    return pixels.permute(0, 2, 3, 1).to(torch.uint8).cpu()


def to_pil(images: torch.Tensor) -> list[Image.Image]:
    """float [N, C, H, W] in [-1, 1] -> list of N PIL images: grey, RGB or RGBA for C 1, 3 or 4."""
    arrays = to_uint8(images).numpy()
    return [Image.fromarray(a[:, :, 0] if a.shape[2] == 1 else a) for a in arrays]


def grid(images: Sequence[Image.Image], columns: int) -> Image.Image:
    """One image of images of the same size, in rows of `columns`."""
    width, height = images[0].size
    rows = ceil_div(len(images), columns)
    sheet = Image.new(images[0].mode, (width * min(columns, len(images)), height * rows))
    for i, image in enumerate(images):
        sheet.paste(image, (i % columns * width, i // columns * height))
    return sheet


def on_checkerboard(image: Image.Image, cell: int = 8) -> Image.Image:
    """An RGBA image over grey squares of `cell` px, as RGB. Other images are returned unchanged."""
    if image.mode != "RGBA":
        return image
    tile = Image.new("L", (2 * cell, 2 * cell), 204)
    for corner in ((0, 0), (cell, cell)):
        tile.paste(255, (*corner, corner[0] + cell, corner[1] + cell))
    board = Image.new("L", image.size)
    for y in range(0, image.height, 2 * cell):
        for x in range(0, image.width, 2 * cell):
            board.paste(tile, (x, y))
    return Image.alpha_composite(board.convert("RGBA"), image).convert("RGB")


def exif_of(metadata: Mapping[str, Any]) -> Image.Exif:
    """EXIF data with metadata as JSON, in the field ImageDescription."""
    exif = Image.Exif()
    exif[IMAGE_DESCRIPTION] = json.dumps(dict(metadata))
    return exif


def save_image(
    image: Image.Image, path: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None
) -> None:
    """Write an image as PNG or lossless WebP, by the suffix of `path`, with metadata inside.

    PNG: one text chunk per key. WebP: JSON in the EXIF field ImageDescription. The file appears
    complete or not at all.
    """
    path, metadata = Path(path), metadata or {}
    buffer = io.BytesIO()
    if path.suffix.lower() == ".webp":
        image.save(buffer, "WEBP", lossless=True, exif=exif_of(metadata))
    else:
        text = PngImagePlugin.PngInfo()
        for key, value in metadata.items():
            text.add_itxt(key, str(value))
        image.save(buffer, "PNG", pnginfo=text)
    with whole_file(path) as part:
        part.write_bytes(buffer.getvalue())
