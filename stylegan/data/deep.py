# SPDX-License-Identifier: Apache-2.0
"""Images of more than 8 bits a value: 16 or 32 bits and floats, grey and RGB."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

KEY = "stylegan.deep"  # of `Deep` in Image.info, which copies of an image keep
PHOTOMETRIC, BITS, SAMPLE_FORMAT = 262, 258, 339  # TIFF tags

# Pillow reads only the high byte of each 16-bit value of these. The second raw mode reads the low
# byte: it takes the other byte of each pair, or all four bytes of grey with alpha.
LOW_BYTES = {
    "RGB;16B": "RGB;16L",
    "RGB;16L": "RGB;16B",
    "RGBA;16B": "RGBA;16L",
    "RGBA;16L": "RGBA;16B",
    "LA;16B": "RGBA",
}


@dataclass(frozen=True)
class Deep:
    """What Pillow's image does not tell of an image of more than 8 bits."""

    fractions: bool  # floats, else whole numbers
    inverted: bool = False  # the lowest value is white
    unsigned: bool = False  # 32 bits, which Pillow takes as signed
    raw_mode: str | None = None  # that reads the low bytes
    low_bytes: Image.Image | None = None  # of an image that is loaded

    @property
    def grey_alpha(self) -> bool:
        """Whether these are pairs of grey and alpha, which Pillow shows as RGBA."""
        return self.raw_mode == "RGBA"


@dataclass(frozen=True)
class Extent:
    """The values of one image."""

    lowest: float  # of the finite ones
    highest: float
    bright: float  # 99.9 % of the values are at most this
    fractions: bool
    finite: bool  # all values are


@dataclass(frozen=True)
class Scaled:
    """An image of 8 bits, made of one of more."""

    image: Image.Image  # L, LA, RGB or RGBA
    outside: int  # values that were cut
    not_finite: int  # NaN, which became black, and infinities


def examine(image: Image.Image) -> Deep | None:
    """What is special about an image that is opened but not loaded; None if it has 8 bits."""
    if image.mode.startswith(("I", "F")):
        tags = getattr(image, "tag_v2", {})
        bits, form = (_first(tags.get(tag)) for tag in (BITS, SAMPLE_FORMAT))
        unsigned = image.mode == "I" and bits == 32 and form in (None, 1)
        white_first = _first(tags.get(PHOTOMETRIC)) == 0
        return Deep(image.mode.startswith("F"), white_first, unsigned)
    if image.mode not in ("RGB", "RGBA") or image.format not in ("PNG", "TIFF"):
        return None
    low = LOW_BYTES.get(_native(_raw_mode(image)))
    return None if low is None else Deep(False, raw_mode=low)


def low_bytes(data: bytes, deep: Deep, formats: tuple[str, ...]) -> Image.Image | None:
    """The low bytes of the values of an image file, loaded."""
    if deep.raw_mode is None:
        return None
    image: Image.Image = Image.open(io.BytesIO(data), formats=formats)
    tile: Any = image.tile[0]  # type: ignore[attr-defined]
    args = deep.raw_mode if isinstance(tile[3], str) else (deep.raw_mode, *tile[3][1:])
    plain = isinstance(tile, tuple) and not hasattr(tile, "_replace")  # of Pillow 10
    tile = (*tile[:3], args) if plain else tile._replace(args=args)
    image.tile = [tile]  # type: ignore[attr-defined]
    image.load()
    return image


def deep_of(image: Image.Image) -> Deep | None:
    """The `Deep` of an image that `decode.open_image` returned, or of another image of Pillow."""
    if KEY in image.info:
        return image.info[KEY]
    return Deep(image.mode.startswith("F")) if image.mode.startswith(("I", "F")) else None


def extent(image: Image.Image) -> Extent | None:
    """The values of an image; None if none of them is finite."""
    deep = deep_of(image)
    assert deep is not None
    values = _values(image, deep)[0]
    finite = True
    if deep.fractions:
        valid = values[np.isfinite(values)]
        finite = valid.size == values.size
        values = valid
    if not values.size:
        return None
    flat = values.ravel()
    bright = np.percentile(flat[:: max(flat.size // 100_000, 1)], 99.9)
    return Extent(
        float(values.min()), float(values.max()), float(bright), deep.fractions, bool(finite)
    )


def scale(image: Image.Image, low: float, high: float) -> Scaled:
    """The image with 8 bits: `low` becomes 0 and `high` 255, and values outside are cut."""
    deep = deep_of(image)
    assert deep is not None
    values, alpha = _values(image, deep)
    not_finite = 0
    outside = int(np.count_nonzero((values < low) | (values > high)))
    if deep.fractions:
        not_finite = int(values.size - np.count_nonzero(np.isfinite(values)))
        outside -= int(np.count_nonzero(np.isinf(values)))
        values = np.where(np.isnan(values), low, values)
    exact = np.float32 if values.dtype == np.uint16 else np.float64
    unit = (np.clip(values, low, high).astype(exact) - exact(low)) * exact(255 / (high - low))
    pixels = np.uint8(unit + exact(0.5))
    if deep.inverted:
        pixels = 255 - pixels
    made = Image.fromarray(pixels)
    if alpha is not None:
        made.putalpha(Image.fromarray(np.uint8((alpha.astype(np.float32) / 257) + 0.5)))
    made.info.update({k: v for k, v in image.info.items() if k != KEY})
    return Scaled(made, outside, not_finite)


def _values(image: Image.Image, deep: Deep) -> tuple[np.ndarray, np.ndarray | None]:
    """([H, W] grey or [H, W, 3] RGB, alpha [H, W] of 16 bits or None)."""
    if deep.low_bytes is None:
        values = np.asarray(image)
        if values.dtype.byteorder == ">":
            values = values.astype(values.dtype.newbyteorder("="))
        return (values.view(np.uint32) if deep.unsigned else values), None
    low = np.asarray(deep.low_bytes).astype(np.uint16)
    if deep.grey_alpha:
        return low[:, :, 0] * 256 + low[:, :, 1], low[:, :, 2] * 256 + low[:, :, 3]
    values = np.asarray(image).astype(np.uint16) * 256 + low
    if values.shape[2] == 4:
        return np.ascontiguousarray(values[:, :, :3]), values[:, :, 3]
    return values, None


def _raw_mode(image: Image.Image) -> str:
    tiles = getattr(image, "tile", None)
    if not tiles or len(tiles) != 1:
        return ""
    args = tiles[0][3]
    return str(args[0] if isinstance(args, tuple) else args)


def _native(raw_mode: str) -> str:
    """The raw mode with the byte order of this machine written out."""
    order = "L" if np.little_endian else "B"
    return raw_mode[:-1] + order if raw_mode.endswith(";16N") else raw_mode


def _first(value: object) -> object:
    return value[0] if isinstance(value, tuple) and value else value
