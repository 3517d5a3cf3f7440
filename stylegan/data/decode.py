# SPDX-License-Identifier: Apache-2.0
"""From an image file to pixels."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from stylegan.errors import UserError
from stylegan.identify import not_an_image
from stylegan.words import one_line

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
KINDS = {1: "grey", 3: "RGB", 4: "RGBA"}

ORIENTATION = 0x0112  # the EXIF tag

# Not opened: EPS runs Ghostscript, that is, code in the file. The others are vector graphics or
# names without a decoder.
REFUSED = {"EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5", "FITS"}


Transform = Callable[[Image.Image, tuple[int, int]], Image.Image]  # (image, (height, width))


@dataclass(frozen=True)
class Header:
    """What `look` finds out about an image."""

    height: int  # px, of the upright image
    width: int
    channels: int  # that suit it: 1, 3 or 4


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
    return known | {".heic", ".heif"}


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
            if load:
                image.load()
                image = _upright(image)
        return image
    except UnidentifiedImageError:
        raise UserError(name, _unidentified(data, name)) from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise UserError(name, f"more than {limit:.0f} million pixels, not opened") from None
    except MemoryError:
        raise UserError(name, "needs more memory than there is") from None
    except Exception as e:  # a damaged file makes Pillow's readers raise almost anything
        raise UserError(name, f"broken image ({_reason(e)})") from e


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
        return Header(height, width, natural_channels(image))
    except Exception as e:  # the search for transparent pixels reads all of them
        raise UserError(name, f"broken image ({_reason(e)})") from e


def natural_channels(image: Image.Image) -> int:
    """1 for grey images, 4 for images with a transparent pixel, else 3."""
    if image.has_transparency_data and not _opaque(image):
        return 4
    return 1 if image.mode in ("1", "L", "LA", "La") or image.mode.startswith(("I", "F")) else 3


def to_pixels(
    image: Image.Image,
    channels: int,
    size: tuple[int, int] | None = None,
    transform: Transform | None = None,
) -> np.ndarray:
    """Pixels of an image.

    Args:
        image: from `open_image`.
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
        return ImageOps.exif_transpose(image)
    except Exception:  # broken EXIF does not mean broken pixels
        return image


def _opaque(image: Image.Image) -> bool:
    with_alpha = image.mode in ("RGBA", "LA", "RGBa", "La")
    extrema: Any = (image if with_alpha else image.convert("RGBA")).getextrema()
    return extrema[-1][0] == 255


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    elif image.mode == "LAB":
        raise ValueError("LAB colours, which Pillow cannot convert; save it as RGB")
    if mode != "RGBA" and image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits or floats as 8 bits; convert() would clip at 255."""
    wide = np.nan_to_num(np.asarray(image).astype(np.float64))
    if image.mode.startswith("F"):  # floats are 0..1, or 0..255 if any is larger
        wide = wide * 255 if wide.max(initial=0) <= 1 else wide
    else:
        wide = wide / 257
    return Image.fromarray(np.uint8(np.clip(wide + 0.5, 0, 255)))


def _unidentified(data: bytes, name: str) -> str:
    if not data:
        return "empty file"
    if name.lower().endswith((".heic", ".heif")):
        return "HEIC needs one more package: pip install pillow-heif"
    return not_an_image(name, data)


def _reason(e: BaseException) -> str:
    return one_line(e, 120) or type(e).__name__
