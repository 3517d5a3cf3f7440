# SPDX-License-Identifier: Apache-2.0
"""Images to files, with how they were made."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from stylegan.files import whole_file

IMAGE_DESCRIPTION = 0x010E  # the EXIF field


def exif_of(metadata: Mapping[str, Any]) -> Image.Exif:
    """EXIF data with metadata as JSON, in the field ImageDescription."""
    exif = Image.Exif()
    exif[IMAGE_DESCRIPTION] = json.dumps(dict(metadata))
    return exif


def save_image(
    image: Image.Image, path: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None
) -> None:
    """Write an image as PNG or lossless WebP, by the suffix of `path`, with metadata inside.

    PNG: one text chunk per key. WebP: JSON in the EXIF field ImageDescription. The file appears
    complete or not at all.
    """
    path, metadata = Path(path), metadata or {}
    buffer = io.BytesIO()
    if path.suffix.lower() == ".webp":
        image.save(buffer, "WEBP", lossless=True, exif=exif_of(metadata))
    else:
        text = PngImagePlugin.PngInfo()
        for key, value in metadata.items():
            text.add_itxt(key, str(value))
        image.save(buffer, "PNG", pnginfo=text)
    with whole_file(path) as part:
        part.write_bytes(buffer.getvalue())
