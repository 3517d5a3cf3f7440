# SPDX-License-Identifier: Apache-2.0
"""Animated GIF files: Pillow encodes each frame, the container is written here.

Source: GIF89a specification.
"""

from __future__ import annotations

import io
import json
import struct
from typing import NamedTuple

from PIL import Image

from stylegan.imaging import on_checkerboard
from stylegan.video.writers.base import Writer


class Still(NamedTuple):
    """The parts of a GIF with one image."""

    palette: bytes  # 3 per colour
    pixels: bytes  # compressed


class Gif(Writer):
    """Animated GIF, each frame with its own palette of 256 colours. Transparent frames are shown on
    a checkerboard, since a GIF has no partial transparency."""

    max_side = 65535
    max_fps = 50  # viewers show a frame of less than 0.02 s for 0.1 s

    def _begin(self) -> None:
        # A screen without a common palette, then the extension with the number of repetitions.
        self.file.write(b"GIF89a" + struct.pack("<HHBBB", *self.size, 0, 0, 0))
        if self.loop:
            self.file.write(b"!\xff\x0bNETSCAPE2.0\3\1" + struct.pack("<H", 0) + b"\0")
        if self.metadata:  # a comment: blocks of at most 255 bytes of ASCII
            text = json.dumps(self.metadata).encode("ascii")
            parts = [text[i : i + 255] for i in range(0, len(text), 255)]
            self.file.write(b"!\xfe" + b"".join(bytes([len(p)]) + p for p in parts) + b"\0")

    def _add(self, image: Image.Image) -> None:
        buffer = io.BytesIO()
        image = on_checkerboard(image)
        image = image if image.mode == "L" else _quantized(image)
        image.save(buffer, "GIF", interlace=0)
        still = _parts(buffer.getvalue())
        # Flag 4: the frame stays until the next one.
        control = struct.pack("<BBHBB", 4, 4, self._duration(100), 0, 0)
        rectangle = struct.pack("<HHHH", 0, 0, *self.size)
        bits = (len(still.palette) // 3).bit_length() - 1
        own_palette = struct.pack("<B", 0x80 | bits - 1)
        descriptor = b"," + rectangle + own_palette
        self.file.write(b"!\xf9" + control + descriptor + still.palette + still.pixels)

    def _end(self) -> None:
        self.file.write(b";")


def _quantized(image: Image.Image) -> Image.Image:
    """An RGB image in its own 256 colours; exact if it has no more."""
    if image.getcolors(256):
        return image.quantize(256)
    # The octree with dithering is closer than a median cut, in a tenth of the time.
    colors = image.quantize(256, method=Image.Quantize.FASTOCTREE)
    return image.quantize(palette=colors, dither=Image.Dither.FLOYDSTEINBERG)


def _parts(data: bytes) -> Still:
    """The parts of a GIF file with one global palette and one image."""
    start = 13 + 3 * (2 << (data[10] & 7))
    palette = data[13:start]
    while data[start : start + 1] == b"!":  # extensions: a label, then blocks up to an empty one
        start += 2
        while data[start]:
            start += data[start] + 1
        start += 1
    if data[start + 9] & 0x80:
        raise ValueError("expected a GIF without local palettes")
    return Still(palette, data[start + 10 : -1])
