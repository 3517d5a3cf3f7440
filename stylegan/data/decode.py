# SPDX-License-Identifier: Apache-2.0
"""One image file to pixels."""

import functools
import io
import warnings
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from stylegan.errors import UserError
from stylegan.words import one_line

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
KINDS = {1: "grey", 3: "RGB", 4: "RGBA"}

ORIENTATION = 0x0112  # the EXIF tag

# Not opened: EPS runs Ghostscript, that is, code in the file; the rest are vector graphics or only
# names, which Pillow cannot draw.
REFUSED = {"EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5", "FITS"}


@functools.cache
def formats():
    """The formats that are opened, by Pillow's names; HEIC where pillow-heif is installed."""
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
    except ImportError:
        pass
    Image.init()
    # They are tried in turn, so the usual ones come first: 1.25 times the WebP images/s.
    usual = [kind for kind in ("PNG", "JPEG", "WEBP") if kind in Image.OPEN]
    return (*usual, *(k for k in Image.OPEN if k not in (*usual, *REFUSED)))


@functools.cache
def extensions():
    """File name endings of images, lower case, with the dot. HEIC, a phone's photos, counts even
    where nothing can open it, so that the files are named rather than passed over."""
    opened = formats()
    known = {ext for ext, kind in Image.EXTENSION.items() if kind in opened}
    return known | {".heic", ".heif"}


def open_image(data, name, load=True):
    """The image in `data` (bytes): upright, first frame.

    Args:
        load: read the pixels too; False reads the header only, and leaves the image as it lies.
    Raises: UserError that names the file if Pillow cannot read it.
    """
    try:
        with _quiet():
            image = Image.open(io.BytesIO(data), formats=formats())
            if load:
                image.load()
                image = _upright(image)
        return image
    except UnidentifiedImageError:
        raise UserError(name, _unidentified(data, name)) from None
    except Image.DecompressionBombError:
        limit = 2 * Image.MAX_IMAGE_PIXELS / 1e6
        raise UserError(name, f"more than {limit:.0f} million pixels, not opened") from None
    except MemoryError:
        raise UserError(name, "needs more memory than there is") from None
    except Exception as e:  # a damaged file makes Pillow's readers raise almost anything
        raise UserError(name, f"broken image ({_reason(e)})") from e


def look(data, name):
    """(height, width, channels) of the image in `data`, upright, mostly from its header.

    Raises: UserError as `open_image`.
    """
    image = open_image(data, name, load=False)
    try:
        height, width = image.height, image.width
        with _quiet():
            turn = image.getexif().get(ORIENTATION, 1)
        if turn in (5, 6, 7, 8):  # a quarter turn
            height, width = width, height
        return height, width, natural_channels(image)
    except Exception as e:  # looking for transparent pixels reads them
        raise UserError(name, f"broken image ({_reason(e)})") from e


def natural_channels(image):
    """1 for grey images, 4 for those with a transparent pixel, 3 for the rest."""
    if image.has_transparency_data and not _opaque(image):
        return 4
    return 1 if image.mode in ("1", "L", "LA", "La") or image.mode.startswith(("I", "F")) else 3


def to_pixels(image, channels, size=None, transform=None):
    """Pixels of an image.

    Args:
        image: a PIL image.
        channels: 1, 3 or 4; transparency that is not kept is laid over white. Where nothing is to
            be seen (alpha 0) colours are 0, so that they carry no signal.
        size: (height, width) to resize to; None keeps the image's.
        transform: how an image gets that size, a function (PIL image, (height, width)) -> PIL
            image; default: cropped at the centre, Lanczos.
    Returns: uint8 array [channels, height, width].
    """
    image = _to_mode(image, MODES[channels])
    if size is not None:
        image = (transform or center_crop)(image, size)
    pixels = np.asarray(image).reshape(image.height, image.width, channels)
    pixels = np.require(pixels.transpose(2, 0, 1), requirements="CW")
    if channels == 4:
        pixels[:3] *= pixels[3] > 0
    return pixels


def center_crop(image, size):
    """The middle of a PIL image in the shape of size, (height, width), resized to it."""
    if image.size == (size[1], size[0]):
        return image
    return ImageOps.fit(image, (size[1], size[0]), Image.Resampling.LANCZOS)


@contextmanager
def _quiet():
    """No warnings of odd metadata, and of images that are merely large."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _upright(image):
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # EXIF that does not parse says nothing of the pixels
        return image


def _opaque(image):
    if image.mode in ("RGBA", "LA", "RGBa", "La"):
        return image.getextrema()[-1][0] == 255
    return image.convert("RGBA").getextrema()[3][0] == 255


def _to_mode(image, mode):
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    elif image.mode == "LAB":
        raise ValueError("LAB colours, which Pillow cannot convert; save it as RGB")
    if mode != "RGBA" and image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(image):
    """Grey of 16 or 32 bits or floats as 8 bits; convert() would clip at 255."""
    wide = np.nan_to_num(np.asarray(image).astype(np.float64))
    if image.mode.startswith("F"):  # floats are 0..1, or 0..255 where any is larger
        wide = wide * 255 if wide.max(initial=0) <= 1 else wide
    else:
        wide = wide / 257
    return Image.fromarray(np.uint8(np.clip(wide + 0.5, 0, 255)))


def _unidentified(data, name):
    if not data:
        return "empty file"
    if name.lower().endswith((".heic", ".heif")):
        return "HEIC needs one more package: pip install pillow-heif"
    return "not an image that Pillow can read"


def _reason(e):
    return one_line(e, 120) or type(e).__name__
