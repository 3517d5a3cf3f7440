# SPDX-License-Identifier: Apache-2.0
"""Text on sheets, in the font that comes with Pillow."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator
from typing import Any

from PIL import Image, ImageDraw, ImageFont

DOTS = "..."
MISSING = "\uffff"  # no font has it, so it is drawn as the box for a missing character


@functools.cache
def font_of(size: int) -> Any:
    """The font with letters of `size` px. A Pillow without FreeType has one of a fixed size."""
    try:
        return ImageFont.load_default(size)
    except ImportError:
        return ImageFont.load_default()


def can_write(text: str) -> bool:
    """Whether the font has all characters of a text. It has ASCII; accents are left out."""
    return all(map(_has, _plain(text)))


def _plain(text: str) -> str:
    """A text without accents: e for an e with an acute."""
    split = unicodedata.normalize("NFKD", text)
    return "".join(c for c in split if not unicodedata.combining(c))


@functools.cache
def _has(character: str) -> bool:
    if character.isspace():
        return character in " \n"
    font = font_of(16)
    if not isinstance(font, ImageFont.FreeTypeFont):
        return " " < character <= "~"
    return bytes(font.getmask(character)) not in (bytes(font.getmask(MISSING)), b"")


def writable(text: str) -> str:
    """A text without accents, and with a question mark for each other character that the font
    lacks."""
    return "".join(c if _has(c) else "?" for c in _plain(text))


def cut(text: str, width: float, size: int) -> str:
    """One line of text, cut to `width` px in letters of `size` px."""
    font = font_of(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + DOTS) > width:
        text = text[:-1]
    return text.rstrip() + DOTS if text else ""


def wrapped(text: str, width: float, size: int) -> Iterator[str]:
    """The lines of a text, broken between words to `width` px."""
    font = font_of(size)
    for line in text.split("\n"):
        words = line.split(" ")
        now = words[0]
        for word in words[1:]:
            if font.getlength(f"{now} {word}") > width:
                yield cut(now, width, size)
                now = word
            else:
                now = f"{now} {word}"
        yield cut(now, width, size)


def write(
    image: Image.Image,
    lines: list[str],
    middle: int,
    top: int,
    size: int,
    line_px: int,
    fill: Any,
) -> None:
    """Write lines on an image, centred.

    Args:
        middle, top: where in px.
        size: of the letters in px.
        line_px: height of a line.
        fill: colour.
    """
    draw, font = ImageDraw.Draw(image), font_of(size)
    for i, line in enumerate(lines):
        x = middle - font.getlength(line) / 2
        draw.text((round(x), top + i * line_px), line, fill=fill, font=font)
