# SPDX-License-Identifier: Apache-2.0
"""Images of more than 8 bits a value: 16 or 32 bits and floats, grey and RGB."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

KEY = "stylegan.deep"  # of `Deep` in Image.info, which copies of an image keep
PHOTOMETRIC, BITS, SAMPLE_FORMAT, PLANES = 262, 258, 339, 284  # TIFF tags

# Pillow reads only the high byte of each 16-bit value of colours. These raw modes, and those of
# single planes, read the low byte when the byte order is exchanged. "LA;16B" has no such twin, but
# "RGBA" takes all its four bytes.
SIXTEEN_BITS = ("RGB;16", "RGBX;16", "RGBA;16", "LA;16", "R;16", "G;16", "B;16", "A;16")


class Unsupported(ValueError):
    """An image that Pillow reads, but not with all of its bits."""


@dataclass(frozen=True)
class Deep:
    """What Pillow's image does not tell of an image of more than 8 bits."""

    fractions: bool  # floats, else whole numbers
    inverted: bool = False  # the lowest value is white
    unsigned: bool = False  # 32 bits, which Pillow takes as signed
    grey_alpha: bool = False  # pairs, which Pillow shows as RGBA
    colours: bool = False  # of 16 bits, or grey with alpha: there are low bytes
    low_bytes: Image.Image | None = None  # of an image that is loaded


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
    """What is special about an image that is opened but not loaded; None if it has 8 bits.

    Raises: Unsupported.
    """
    if image.mode.startswith(("I", "F")):
        tags = getattr(image, "tag_v2", {})
        bits, form = (_first(tags.get(tag)) for tag in (BITS, SAMPLE_FORMAT))
        unsigned = image.mode == "I" and bits == 32 and form in (None, 1)
        white_first = _first(tags.get(PHOTOMETRIC)) == 0
        return Deep(image.mode.startswith("F"), white_first, unsigned)
    if image.mode not in ("RGB", "RGBA") or image.format not in ("PNG", "TIFF"):
        return None
    _name_planes(image)
    tiles: Any = getattr(image, "tile", None)
    if tiles and _raw_mode(tiles[0]).startswith("RGBa;16"):
        raise Unsupported("16 bits, multiplied by their transparency")
    mode = _raw_mode(tiles[0]) if tiles else ""
    if not mode.startswith(SIXTEEN_BITS):
        return None
    if tiles[0][0] == "libtiff" and _first(getattr(image, "tag_v2", {}).get(PLANES)) == 2:
        raise Unsupported("16 bits, compressed, one colour after the other")
    return Deep(False, grey_alpha=mode.startswith("LA"), colours=True)


def low_bytes(data: bytes, deep: Deep, formats: tuple[str, ...]) -> Image.Image | None:
    """The low bytes of the values of an image file, loaded."""
    if not deep.colours:
        return None
    image: Any = Image.open(io.BytesIO(data), formats=formats)
    _name_planes(image)
    image.tile = [_with_raw_mode(tile, _other_byte(_raw_mode(tile))) for tile in image.tile]
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


def _name_planes(image: Any) -> None:
    """Name the raw modes of a TIFF whose colours lie one after the other: Pillow takes their 16
    bits for 8."""
    tags: Any = getattr(image, "tag_v2", {})
    if _first(tags.get(BITS)) == 16 and len(_raw_mode(image.tile[0])) == 1:
        order = "B" if tags.prefix == b"MM" else "L"
        tiles = image.tile
        image.tile = [_with_raw_mode(tile, f"{_raw_mode(tile)};16{order}") for tile in tiles]


def _other_byte(mode: str) -> str:
    """The raw mode that reads the other byte of each value."""
    if mode.startswith("LA"):
        return "RGBA"
    order = {"N": "L" if np.little_endian else "B"}.get(mode[-1], mode[-1])
    return mode[:-1] + {"L": "B", "B": "L"}[order]


def _raw_mode(tile: Any) -> str:
    return str(tile[3][0] if isinstance(tile[3], tuple) else tile[3])


def _with_raw_mode(tile: Any, mode: str) -> Any:
    """A tile of Pillow, by which it reads a part of a file, with another raw mode."""
    args = (mode, *tile[3][1:]) if isinstance(tile[3], tuple) else mode
    # Pillow 10 has plain tuples.
    return tile._replace(args=args) if hasattr(tile, "_replace") else (*tile[:3], args)


def _first(value: object) -> object:
    return value[0] if isinstance(value, tuple) and value else value
