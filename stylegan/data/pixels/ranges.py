# SPDX-License-Identifier: Apache-2.0
"""Which values of images of more than 8 bits are black and white: one rule for a whole data set."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from stylegan.data.pixels.deep import Extent

BITS = (1, 8, 10, 12, 14, 16, 24, 32)  # that whole numbers are taken to have
WHITES = (255, 1023, 4095, 16383, 65535)  # of floats that were whole numbers once
OTHERS = "; --range sets others"
OVERSHOOT = 0.05  # of the range, which filters add to floats at edges
DARK = 8  # times as much as nearly all values is a range that is probably too wide


@dataclass(frozen=True)
class Range:
    """Values from black to white."""

    low: float
    high: float
    why: str  # it was chosen

    @property
    def pair(self) -> tuple[float, float]:
        """(low, high)."""
        return self.low, self.high

    def __str__(self) -> str:
        return f"{number(self.low)} is black and {number(self.high)} is white ({self.why})"


@dataclass(frozen=True)
class DeepImages:
    """The images of more than 8 bits in a data set, as far as they were looked at."""

    looked_at: int  # images of any kind
    extents: dict[str, Extent]  # {file: its values}
    chosen: Range | None  # None if no range suits all
    clash: str = ""  # why not, as the end of an error
    given: bool = False  # by the user

    def __str__(self) -> str:
        lowest, highest = _ends(self.extents.values())
        count = f"{len(self.extents):,} of {self.looked_at:,} images looked at have"
        found = f"{count} more than 8 bits, with values {number(lowest)} to {number(highest)}"
        return f"{self.chosen or self.clash}; {found}"

    @property
    def notes(self) -> list[str]:
        """Lines on what is unusual about the values."""
        lines = []
        broken = sum(not e.finite for e in self.extents.values())
        if broken:
            lines.append(no_numbers(broken))
        if self.chosen:
            low, high = self.chosen.pair
            outside = sum(e.lowest < low or e.highest > high for e in self.extents.values())
            lines += [cut(outside, self.chosen.pair)] if outside else []
        return lines + self.hints

    @property
    def hints(self) -> list[str]:
        """What --range could do better."""
        if self.chosen is None or self.given or self.chosen.low != 0:
            return []
        bright = max(e.bright for e in self.extents.values())
        if not 0 < bright * DARK < self.chosen.high:
            return []
        return [
            f"the images will be dark: nearly all values are at most {number(bright)} of "
            f"{number(self.chosen.high)}; --range 0,{number(math.ceil(bright))} makes them brighter"
        ]


def choose(extents: Iterable[Extent]) -> Range:
    """The range of images that are all whole numbers or all floats; it does not depend on their
    order."""
    found = list(extents)
    lowest, highest = _ends(found)
    if any(e.fractions for e in found):
        return _of_fractions(lowest, highest)
    return _of_whole_numbers(lowest, highest)


def look_at(extents: dict[str, Extent], looked_at: int, given: Range | None) -> DeepImages:
    """The images of more than 8 bits, with the range that is given or else chosen."""
    if given:
        return DeepImages(looked_at, extents, given, given=True)
    kinds = [
        {name: e for name, e in extents.items() if e.fractions == fractions}
        for fractions in (False, True)
    ]
    ranges = [choose(kind.values()) for kind in kinds if kind]
    if len({r.pair for r in ranges}) == 1:
        return DeepImages(looked_at, extents, ranges[0])
    (whole, fraction), (a, b) = (sorted(kind)[0] for kind in kinds), ranges
    clash = (
        f"{whole} has whole numbers of {number(a.low)} to {number(a.high)}, but {fraction} has "
        f"floats of {number(b.low)} to {number(b.high)}; convert one kind, or give --range"
    )
    return DeepImages(looked_at, extents, None, clash)


def number(value: float) -> str:
    """A pixel value as text, exact if it is a whole number."""
    return str(int(value)) if value == int(value) else f"{value:.6g}"


def cut(count: int, value_range: tuple[float, float]) -> str:
    """A line on images with values outside a range."""
    low, high = map(number, value_range)
    return f"{images_have(count)} values outside {low} to {high}, which are cut"


def no_numbers(count: int) -> str:
    """A line on images with NaN or infinities."""
    return f"{images_have(count)} values that are no numbers; NaN becomes black"


def images_have(count: int) -> str:
    """The begin of a sentence."""
    return "1 image has" if count == 1 else f"{count:,} images have"


def _ends(extents: Iterable[Extent]) -> tuple[float, float]:
    found = list(extents)
    return min(e.lowest for e in found), max(e.highest for e in found)


def _of_whole_numbers(lowest: float, highest: float) -> Range:
    """The smallest number of bits that holds the values; 16 if all are 0."""
    if lowest < 0:
        return _around(lowest, highest, 1)
    bits = next((b for b in BITS if highest < 2**b), BITS[-1]) if highest else 16
    return Range(0, 2**bits - 1, f"{bits} bits{OTHERS}" if bits > 1 else f"1 bit{OTHERS}")


def _of_fractions(lowest: float, highest: float) -> Range:
    """0 to 1, -1 to 1, 0 to a white of whole numbers, or else what the values cover."""
    for low in (0, -1):
        margin = OVERSHOOT * (1 - low)
        if lowest >= low - margin and highest <= 1 + margin:
            return Range(low, 1, f"floats{OTHERS}")
    for white in WHITES:
        fits = white / 4 < highest <= (1 + OVERSHOOT) * white
        if fits and -OVERSHOOT * white <= lowest < highest / 4:
            return Range(0, white, f"floats{OTHERS}")
    return _around(lowest, highest, 0)


def _around(lowest: float, highest: float, unit: float) -> Range:
    """The values, rounded outward to two digits of their span and to multiples of `unit`."""
    if 0 <= lowest < highest / 4:
        lowest = 0.0
    span = highest - lowest or max(abs(highest), 1.0)
    digits = math.floor(math.log10(span)) - 1
    step = max(10.0**digits, unit)
    # Rounded first, so that 1e30 / 1e29 is 10.
    low = math.floor(round(lowest / step, 6)) * step
    high = math.ceil(round(highest / step, 6)) * step
    places = max(-digits, 0)
    high = high if high > low else low + step
    return Range(round(low, places), round(high, places), f"all values found{OTHERS}")
