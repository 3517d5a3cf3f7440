# SPDX-License-Identifier: Apache-2.0
"""Pixels to the bytes of an image file, or the bytes of the source where they hold these pixels."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from stylegan.data import decode
from stylegan.data.pixels import deep, keep
from stylegan.errors import UserError

FORMATS = ("keep", "png", "jpeg", "webp")
JPEG_QUALITY = 95  # the default
WEBP_MAX = 16383  # px of a side


@dataclass(frozen=True)
class Encoding:
    """In which format images are written."""

    format: str = "keep"  # one of FORMATS; keep: the bytes of the source if possible, else PNG
    quality: int | None = None  # 1 to 100; None: 95 of JPEG, and WebP without loss

    def check(self, channels: int, size: tuple[int, int]) -> None:
        """Raises: UserError if the format cannot hold images of these channels and this size."""
        if self.format not in FORMATS:
            raise UserError("format", f"expected one of {', '.join(FORMATS)}, got {self.format!r}")
        if self.quality is not None and self.format not in ("jpeg", "webp"):
            raise UserError("quality", "goes with --format jpeg or --format webp")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UserError("quality", f"expected 1 to 100, got {self.quality}")
        if self.format == "jpeg" and channels == 4:
            raise UserError("jpeg", "has no transparency; use --format webp, or --channels 3")
        if self.format == "webp" and max(size) > WEBP_MAX:
            raise UserError("webp", f"holds at most {WEBP_MAX} px a side; use --format png")

    def __str__(self) -> str:
        if self.format == "jpeg":
            return f"jpeg, quality {self.quality or JPEG_QUALITY}"
        if self.format == "webp":
            return f"webp, quality {self.quality}" if self.quality else "webp, lossless"
        return {"keep": "unchanged, or else png"}.get(self.format, self.format)


KEEP = Encoding()


@dataclass(frozen=True)
class Encoded:
    """An image file."""

    data: bytes
    ending: str  # png, jpg or webp
    kept: bool = False  # these are the bytes of the source, without metadata


def encode(pixels: np.ndarray, how: Encoding) -> Encoded:
    """uint8 [1, 3 or 4, H, W] as an image file."""
    array = pixels.transpose(1, 2, 0)
    image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    buffer = io.BytesIO()
    if how.format == "jpeg":
        image.save(buffer, "JPEG", quality=how.quality or JPEG_QUALITY, subsampling=0)
        return Encoded(buffer.getvalue(), "jpg")
    if how.format == "webp":
        lossy = how.quality is not None
        image.save(buffer, "WEBP", lossless=not lossy, quality=how.quality or 75, exact=True)
        return Encoded(buffer.getvalue(), "webp")
    image.save(buffer, "PNG", compress_level=1)
    return Encoded(buffer.getvalue(), "png")


def kept(data: bytes, name: str, kind: str, pixels: np.ndarray) -> Encoded | None:
    """The bytes of a source file without its metadata, if any reader gets `pixels` from them.

    Args:
        kind: the format of the file, by Pillow's name.
        pixels: uint8 [1, 3 or 4, H, W], what it has to hold.
    Returns: None if something changes: size, channels, orientation, colours or bits.
    """
    bare = keep.picture_only(data, kind) if kind in keep.KEPT else None
    if bare is None:
        return None
    try:
        image = decode.open_image(bare, name)
    except UserError:
        return None
    mode = decode.MODES[pixels.shape[0]]
    colour_key = mode != "RGBA" and image.has_transparency_data  # one colour is transparent
    if image.mode != mode or colour_key or deep.deep_of(image):
        return None
    array = np.asarray(image).reshape(image.height, image.width, -1).transpose(2, 0, 1)
    if not np.array_equal(array, pixels):
        return None
    return Encoded(bare, keep.KEPT[kind], kept=True)
