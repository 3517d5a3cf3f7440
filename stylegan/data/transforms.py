# SPDX-License-Identifier: Apache-2.0
"""How an image of any shape gets the size of a data set."""

from __future__ import annotations

from PIL import Image

from stylegan.data.decode import Transform, center_crop

Size = tuple[int, int]  # height, width in px


def center_crop_wide(image: Image.Image, size: Size) -> Image.Image:
    """The middle of the image in the wide shape of size, on a black square of its width."""
    return _on_canvas(center_crop(image, size), (size[1], size[1]))


def fit(image: Image.Image, size: Size) -> Image.Image:
    """The whole image, stretched to size."""
    return image.resize((size[1], size[0]), Image.Resampling.LANCZOS)


def pad(image: Image.Image, size: Size) -> Image.Image:
    """The whole image, as large as it fits into size, on black (RGBA: on transparent pixels)."""
    scale = min(size[1] / image.width, size[0] / image.height)
    width, height = (max(round(scale * n), 1) for n in image.size)
    return _on_canvas(image.resize((width, height), Image.Resampling.LANCZOS), size)


def _on_canvas(image: Image.Image, size: Size) -> Image.Image:
    canvas = Image.new(image.mode, (size[1], size[0]))
    canvas.paste(image, ((size[1] - image.width) // 2, (size[0] - image.height) // 2))
    return canvas


TRANSFORMS: dict[str, Transform] = {
    "center-crop": center_crop,
    "center-crop-wide": center_crop_wide,
    "fit": fit,
    "pad": pad,
}
