# SPDX-License-Identifier: Apache-2.0
"""Animated WebP files: Pillow encodes each frame, the container is written here.

Source: RFC 9649.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

from PIL import Image

from stylegan.imaging import exif_of
from stylegan.video.writers.base import Writer

QUALITY = 90


class WebP(Writer):
    """Animated WebP, with transparency: a RIFF file of one chunk per frame."""

    max_side = 16383

    def _begin(self) -> None:
        self.file.write(b"RIFF" + bytes(4) + b"WEBP")
        # Flags: 2 animation, 8 EXIF, 16 transparency. Then background and number of repetitions.
        flags = 2 | 16 | (8 if self.metadata else 0)
        self._chunk(b"VP8X", struct.pack("<I", flags) + self._canvas())
        self._chunk(b"ANIM", struct.pack("<IH", 0, 0 if self.loop else 1))

    def _add(self, image: Image.Image) -> None:
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=QUALITY)
        position = bytes(6)
        header = position + self._canvas() + struct.pack("<I", self._duration(1000))[:3]
        no_blend = b"\2"  # a transparent frame replaces the frame before
        chunks = b"".join(_image_chunks(buffer.getvalue()))
        self._chunk(b"ANMF", header + no_blend + chunks)

    def _end(self) -> None:
        if self.metadata:
            self._chunk(b"EXIF", exif_of(self.metadata).tobytes().removeprefix(b"Exif\0\0"))
        size = self.file.tell() - 8
        if size >= 2**32:
            raise OSError(None, "a WebP holds at most 4 GiB; .mp4 holds more")
        self.file.seek(4)
        self.file.write(struct.pack("<I", size))

    def _canvas(self) -> bytes:
        return b"".join(struct.pack("<I", n - 1)[:3] for n in self.size)

    def _chunk(self, name: bytes, data: bytes) -> None:
        self.file.write(name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2))


def _image_chunks(data: bytes) -> Iterator[bytes]:
    """The chunks of a still WebP that hold its pixels, headers included."""
    start = 12
    while start < len(data):
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        end = start + 8 + size + size % 2
        if data[start : start + 4] in (b"ALPH", b"VP8 ", b"VP8L"):
            yield data[start:end]
        start = end
