# SPDX-License-Identifier: Apache-2.0
"""One image file to pixels."""

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from stylegan.errors import UserError

MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def extensions():
    """File name endings that Pillow can open, lower case, with the dot."""
    Image.init()
    return {ext for ext, kind in Image.EXTENSION.items() if kind in Image.OPEN}


def open_image(data, name):
    """The image in `data` (bytes), upright, first frame, fully read.

    Raises: UserError that names the file if Pillow cannot read it.
    """
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
        return ImageOps.exif_transpose(image)
    except UnidentifiedImageError:
        raise UserError(f"{name}: not an image that Pillow can read") from None
    except Exception as e:  # a damaged file makes Pillow's readers raise almost anything
        raise UserError(f"{name}: broken image ({e})") from e


def natural_channels(image):
    """1 for grey images, 4 for those with transparency, 3 for the rest."""
    if image.has_transparency_data:
        return 4
    return 1 if image.mode in ("1", "L") or image.mode.startswith(("I", "F")) else 3


def to_pixels(image, channels, size=None):
    """Pixels of an image.

    Args:
        image: a PIL image.
        channels: 1, 3 or 4; transparency that is not kept is laid over white.
        size: (height, width) to crop (at the centre) and resize (Lanczos) to; None keeps the
            image's.
    Returns: uint8 array [channels, height, width].
    """
    image = _to_mode(image, MODES[channels])
    if size is not None and image.size != (size[1], size[0]):
        image = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.LANCZOS)
    pixels = np.array(image).reshape(image.height, image.width, channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _to_mode(image, mode):
    if image.mode.startswith("I"):  # 16 or 32 bits of grey; convert() would clip at 255
        wide = np.asarray(image).astype(np.float64)
        image = Image.fromarray(np.uint8(np.clip(wide / 257 + 0.5, 0, 255)))
    if mode != "RGBA" and image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == mode else image.convert(mode)
