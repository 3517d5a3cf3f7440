# SPDX-License-Identifier: Apache-2.0
"""Numbers and messages as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

KINDS = {1: "grey", 3: "RGB", 4: "RGBA"}  # images by channels


def one_line(text: object, max_length: int | None = None) -> str:
    """`text` (a string, or an error's message) without line breaks and repeated spaces, cut to
    `max_length` characters."""
    return " ".join(str(text).split())[:max_length]


def printable(text: object) -> str:
    """`text`, which may hold file names, for a terminal: control characters, and bytes of a name
    that are not valid UTF-8, are escaped."""
    text = str(text).encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def short(number: float) -> str:
    """A kimg or the like in a few characters: 0.016, 2.5, 43, 120.5, 25000."""
    size = abs(number)
    digits = 0 if size >= 1000 else 1 if size >= 10 else 2 if size >= 1 else 3
    text = f"{number:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def rounded(value: float, digits: int = 6) -> float:
    """`value` to so many significant digits, which JSON then writes in as many characters."""
    return float(f"{value:.{digits}g}")


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def hours(seconds: float) -> str:
    """h:mm; "?" for what is not finite."""
    if not math.isfinite(seconds):
        return "?"
    minutes = int(seconds // 60)
    return f"{minutes // 60}:{minutes % 60:02d}"


def duration(seconds: float) -> str:
    """A time that is not known exactly, in words: 40 s, 6 minutes, 3.5 hours, 12 days, 7 years; "?"
    for what is not finite."""
    if not math.isfinite(seconds):
        return "?"
    if seconds < 60:
        return f"{max(seconds, 0) // 1:.0f} s"
    count: float
    if seconds < 90 * 60:
        count, unit = seconds // 60, "minute"
    elif seconds < 48 * 3600:
        count, unit = round(seconds / 3600, 1), "hour"
    elif seconds < 730 * 86400:
        count, unit = round(seconds / 86400), "day"
    else:
        count, unit = round(seconds / 86400 / 365), "year"
    return f"{count:g} {unit}{'' if count == 1 else 's'}"


def pixels(size: tuple[int, int]) -> str:
    """A size (height, width) in px as "640x480", width first, as people write it."""
    return f"{size[1]}x{size[0]}"


def image_words(size: tuple[int, int], channels: int) -> str:
    """What images are: "64x64 RGB"."""
    return f"{pixels(size)} {KINDS[channels]}"


def named_labels(names: Sequence[str], length: int = 60) -> str:
    """Labels by their names, as many of them as `length` characters hold: "10 labels (glasses,
    sunglasses, ...)"."""
    some = [printable(name) for name in names]
    while len(some) > 1 and len(", ".join(some)) > length:
        some.pop()
    more = ["..."] if len(some) < len(names) else []
    return f"{len(names)} label{'s' * (len(names) != 1)} ({', '.join(some + more)})"


def shown(value: Any) -> str:
    """`value` in a few words, for an error: of an array its shape and dtype."""
    if getattr(value, "ndim", 0):
        return f"{type(value).__name__} of shape {list(value.shape)}, {value.dtype}"
    return one_line(repr(value), 80)
