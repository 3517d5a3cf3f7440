# SPDX-License-Identifier: Apache-2.0
"""Image files to files of one size and kind."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from stylegan.data import decode
from stylegan.data.pixels.encode import Encoded, Encoding, encode, kept
from stylegan.data.source import Source
from stylegan.data.transforms import TRANSFORMS
from stylegan.errors import UserError, reason_for
from stylegan.words import pixels as px


@dataclass(frozen=True)
class Converted:
    """A converted image."""

    file: Encoded
    digest: bytes  # of the pixels
    enlarged: bool  # whether it was smaller
    cut: bool  # whether it has values outside the range
    not_finite: bool  # whether it has values that are no numbers
    broken_profile: bool


@dataclass(frozen=True)
class Conversion:
    """How files become images of one size and kind.

    Call it with names of files; it returns a `Converted` for each, or why it cannot be used.
    """

    source: Source
    size: tuple[int, int]  # height, width in px
    transform: str | None  # a key of TRANSFORMS; None refuses images of another size
    channels: int
    value_range: tuple[float, float] | None  # black and white of images of more than 8 bits
    encoding: Encoding

    def __call__(self, names: list[str]) -> list[Converted | str]:
        return [self._convert(name) for name in names]

    def _convert(self, name: str) -> Converted | str:
        try:
            data = self.source.read(name)
            decoded = decode.read_image(data, name, self.value_range)
            image = decoded.image
            if self.transform is None and (image.height, image.width) != self.size:
                return f"{image.width}x{image.height} px, not {px(self.size)}"
            transform = TRANSFORMS[self.transform] if self.transform else None
            pixels = decode.to_pixels(image, self.channels, self.size, transform)
        except (UserError, ValueError, OSError, MemoryError) as e:
            return reason_for(e, name)
        file = None
        if self.encoding.format == "keep":
            file = kept(data, name, decoded.format, pixels)
        return Converted(
            file or encode(pixels, self.encoding),
            hashlib.blake2b(pixels.tobytes(), digest_size=16).digest(),
            image.width < self.size[1] or image.height < self.size[0],
            decoded.outside > 0,
            decoded.not_finite > 0,
            decoded.broken_profile,
        )
