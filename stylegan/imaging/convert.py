# SPDX-License-Identifier: Apache-2.0
"""Tensors in [-1, 1] to images, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import torch


def to_tensor(pixels: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """uint8 [N, C, H, W] in 0..255 -> float32 in [-1, 1] on `device`."""
    return pixels.to(device, non_blocking=True).float() / 127.5 - 1


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """float [N, C, H, W] in [-1, 1] -> uint8 [N, H, W, C] on the CPU, rounded and clipped."""
    pixels = (images.detach().float() * 127.5 + 127.5).round().clamp(0, 255)
    return pixels.permute(0, 2, 3, 1).byte().cpu()


def to_pil(images: torch.Tensor) -> list[Image.Image]:
    """float [N, C, H, W] in [-1, 1] -> list of N PIL images: grey, RGB or RGBA for C 1, 3 or 4."""
    arrays = to_uint8(images).numpy()
    return [Image.fromarray(a[:, :, 0] if a.shape[2] == 1 else a) for a in arrays]


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
