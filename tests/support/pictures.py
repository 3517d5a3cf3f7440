# SPDX-License-Identifier: Apache-2.0
"""Image files for tests."""

import io

import numpy as np
from PIL import Image


def picture(size=(8, 8), mode="RGB", seed=0):
    """A PIL image of random pixels."""
    rng = np.random.RandomState(seed)
    bands = len(Image.new(mode, (1, 1)).getbands())
    pixels = rng.randint(0, 256, (size[1], size[0], bands), dtype=np.uint8)
    return Image.fromarray(pixels[:, :, 0] if bands == 1 else pixels, mode if bands > 1 else None)


def encoded(image, kind="PNG"):
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()
