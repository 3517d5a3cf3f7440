# SPDX-License-Identifier: Apache-2.0
"""From an image file to pixels."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from stylegan.data.pixels import colour, deep, ranges
from stylegan.errors import UserError
from stylegan.identify import not_an_image
from stylegan.words import KINDS as KINDS
from stylegan.words import one_line

MODES = {1: "L", 3: "RGB", 4: "RGBA"}

ORIENTATION = 0x0112  # the EXIF tag
# Where Pillow looks for it in the common formats; looking takes 4 % of the time of a small PNG.
ORIENTED = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
PLAIN_FORMATS = ("PNG", "JPEG", "WEBP")

# Not opened: EPS runs Ghostscript, that is, code in the file. The others are vector graphics or
# names without a decoder.
REFUSED = {"EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5", "FITS"}


TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

Transform = Callable[[Image.Image, tuple[int, int]], Image.Image]  # (image, (height, width))


@dataclass(frozen=True)
class Header:
    """What `look` finds out about an image."""

    height: int  # px, of the upright image
    width: int
    channels: int  # that suit it: 1, 3 or 4
    deep: bool = False  # more than 8 bits a value
    broken_profile: bool = False  # a colour profile that is not used


@dataclass(frozen=True)
class Decoded:
    """An image of 8 bits a value, and what its file lost on the way."""

    image: Image.Image
    format: str = ""  # of the file, by Pillow's name
    outside: int = 0  # values outside the range, which were cut
    not_finite: int = 0  # values that are no numbers
    broken_profile: bool = False


@functools.cache
def formats() -> tuple[str, ...]:
    """The formats that are opened, by Pillow's names. HEIC needs pillow-heif."""
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
    except ImportError:
        pass
    Image.init()
    # Pillow tries them in turn, so the common ones come first: 1.25 times the WebP images/s.
    common = [kind for kind in ("PNG", "JPEG", "WEBP") if kind in Image.OPEN]
    return (*common, *(k for k in Image.OPEN if k not in (*common, *REFUSED)))


@functools.cache
def extensions() -> set[str]:
    """File name endings of images, lower case, with the dot. HEIC, the format of phones, counts
    even if nothing can open it, so that an error names the files."""
    opened = formats()
    known = {ext for ext, kind in Image.EXTENSION.items() if kind in opened}
    return known | {".heic", ".heif", ".mpo"}  # MPO is opened as JPEG


def open_image(data: bytes, name: str, load: bool = True) -> Image.Image:
    """The image in `data`: upright, first frame.

    Args:
        name: of the file, for errors.
        load: read the pixels too. False reads only the header and does not turn the image upright.
    Raises: UserError that names the file if Pillow cannot read it.
    """
    try:
        with _no_warnings():
            image: Image.Image = Image.open(io.BytesIO(data), formats=formats())
            found = deep.examine(image)
            if load:
                image.load()
                image = _upright(image)
            if found:
                image = _with_deep(image, found, data if load else b"")
        return image
    except deep.Unsupported as e:
        why = f"a kind of TIFF that Pillow reads with 8 bits ({e}); save it in another form"
        raise UserError(name, why) from None
    except UnidentifiedImageError:
        raise UserError(name, _unidentified(data, name)) from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise UserError(name, f"more than {limit:.0f} million pixels, not opened") from None
    except MemoryError:
        raise UserError(name, "needs more memory than there is") from None
    except Exception as e:  # a damaged file makes Pillow's readers raise almost anything
        raise UserError(name, f"broken image ({_reason(e)})") from e


def read_image(data: bytes, name: str, value_range: tuple[float, float] | None) -> Decoded:
    """The image in `data`, a file of a data set: upright, first frame, 8 bits a value.

    Args:
        value_range: values of black and white in images of more than 8 bits; None if the data set
            has none.
    Raises: UserError, as `open_image`; and for an image of more than 8 bits without a range.
    """
    image = open_image(data, name)
    if value_range is None and deep.deep_of(image):
        raise UserError(name, "more than 8 bits, unlike the images looked at; give --range")
    try:
        return to_eight_bits(image, value_range)
    except MemoryError:
        raise UserError(name, "needs more memory than there is") from None


def look(data: bytes, name: str) -> Header:
    """Size and channels of the image in `data`, mostly from its header.

    Raises: UserError, as `open_image`.
    """
    image = open_image(data, name, load=False)
    try:
        height, width = image.height, image.width
        with _no_warnings():
            turn = image.getexif().get(ORIENTATION, 1)
        if turn in (5, 6, 7, 8):  # a quarter turn
            height, width = width, height
        channels = natural_channels(image)
        is_deep = deep.deep_of(image) is not None
        return Header(height, width, channels, is_deep, colour.has_broken_profile(image))
    except Exception as e:  # the search for transparent pixels reads all of them
        raise UserError(name, f"broken image ({_reason(e)})") from e


def natural_channels(image: Image.Image) -> int:
    """1 for grey images, 4 for images with a transparent pixel, else 3."""
    if image.has_transparency_data and not _opaque(image):
        return 4
    found = deep.deep_of(image)
    grey = image.mode in ("1", "L", "LA", "La") or image.mode.startswith(("I", "F"))
    return 1 if grey or found and found.grey_alpha else 3


def to_eight_bits(image: Image.Image, value_range: tuple[float, float] | None = None) -> Decoded:
    """An image from `open_image` with 8 bits a value.

    Args:
        value_range: values of black and white in images of more than 8 bits. None: chosen from this
            image alone.
    """
    kind = image.format or ""
    if deep.deep_of(image) is None:
        return Decoded(image, kind, broken_profile=colour.has_broken_profile(image))
    if value_range is None:
        extent = deep.extent(image)
        value_range = ranges.choose([extent]).pair if extent else (0, 1)
    scaled = deep.scale(image, *value_range)
    broken = colour.has_broken_profile(scaled.image)
    return Decoded(
        scaled.image,
        kind,
        outside=scaled.outside,
        not_finite=scaled.not_finite,
        broken_profile=broken,
    )


def to_pixels(
    image: Image.Image,
    channels: int,
    size: tuple[int, int] | None = None,
    transform: Transform | None = None,
) -> np.ndarray:
    """Pixels of an image, in sRGB.

    Args:
        image: from `open_image` or `to_eight_bits`.
        channels: 1, 3 or 4. Without an alpha channel, transparent pixels are blended with white.
            With one, invisible pixels (alpha 0) get colour 0, so that they carry no signal.
        size: (height, width) to resize to; None: the image's own.
        transform: how an image gets that size; None: cropped at the centre, Lanczos.
    Returns: uint8 array [channels, height, width].
    """
    image = _to_mode(image, MODES[channels])
    if size is not None:
        image = (transform or center_crop)(image, size)
    pixels = np.asarray(image).reshape(image.height, image.width, channels)
    pixels = np.require(pixels.transpose(2, 0, 1), requirements=["C", "W"])
    if channels == 4:
        pixels[:3] *= pixels[3] > 0
    return pixels


def center_crop(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of an image, in the shape of size (height, width), resized to it."""
    if image.size == (size[1], size[0]):
        return image
    return ImageOps.fit(image, (size[1], size[0]), Image.Resampling.LANCZOS)


@contextmanager
def _no_warnings() -> Iterator[None]:
    """No warnings about unusual metadata and large images."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _upright(image: Image.Image) -> Image.Image:
    try:
        if image.format in PLAIN_FORMATS and image.info.keys().isdisjoint(ORIENTED):
            return image
        if image.getexif().get(ORIENTATION, 1) == 1:
            return image  # not the copy that Pillow makes
        return ImageOps.exif_transpose(image)
    except Exception:  # broken EXIF does not mean broken pixels
        return image


def _opaque(image: Image.Image) -> bool:
    with_alpha = image.mode in ("RGBA", "LA", "RGBa", "La")
    extrema: Any = (image if with_alpha else image.convert("RGBA")).getextrema()
    return extrema[-1][0] == 255


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    if deep.deep_of(image) is not None:
        image = to_eight_bits(image).image
    image = colour.to_srgb(image)
    if mode != "RGBA" and image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == mode else image.convert(mode)


def _with_deep(image: Image.Image, found: deep.Deep, data: bytes) -> Image.Image:
    """An image of more than 8 bits with what `deep` needs, which its copies keep."""
    low = deep.low_bytes(data, found, formats()) if data else None
    if low is not None:
        found = replace(found, low_bytes=_upright(low))
    image.info.pop("transparency", None)  # a value of 16 bits, which Pillow compares with 8
    image.info[deep.KEY] = found
    return image


def _unidentified(data: bytes, name: str) -> str:
    if not data:
        return "empty file"
    if name.lower().endswith((".heic", ".heif")):
        return "HEIC needs one more package: pip install pillow-heif"
    if data.startswith(TIFF_MAGIC):
        return "a kind of TIFF that Pillow cannot read; save it with 8 or 16 bits a value"
    return not_an_image(name, data)


def _reason(e: BaseException) -> str:
    return one_line(e, 120) or type(e).__name__
