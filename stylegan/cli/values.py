# SPDX-License-Identifier: Apache-2.0
"""Types of option values: numbers, seeds, sizes and pairs."""

from __future__ import annotations

import math
import re
from typing import Any

import click

from stylegan.errors import UserError


class Numbers(click.ParamType):
    """A list of integers: `0,3,5-9`."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[int]:
        """`value` as a list, in the order given."""
        if isinstance(value, list):
            return value
        numbers: list[int] = []
        for part in value.split(","):
            match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
            if not match:
                self.fail(f"expected numbers like 0,3,5-9, got {value!r}", param, ctx)
            first, last = int(match[1]), int(match[2] or match[1])
            if last < first:
                self.fail(f"{part.strip()!r} counts down; write {last}-{first}", param, ctx)
            if last - first >= 1_000_000:
                self.fail(f"{part.strip()!r} is more than a million numbers", param, ctx)
            numbers += range(first, last + 1)
        return numbers


class Seeds(Numbers):
    """A list of seeds: `0,3,5-9`."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[int]:
        """`value` as a list, in the order given. Raises: UserError for one that is too large."""
        seeds = super().convert(value, param, ctx)
        if max(seeds) >= 2**32:
            raise UserError("seed", f"expected an integer from 0 to 2^32 - 1, got {max(seeds)}")
        return seeds


class NumberList(click.ParamType):
    """Numbers: `1,3,3,1`."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """`value` as a tuple of ints, and of floats for numbers that are no ints."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(map(_number, value.split(",")))
        except ValueError:
            self.fail(f"expected numbers like 1,3,3,1, got {value!r}", param, ctx)
        return numbers


def _number(text: str) -> float:
    """An int, or a finite float. Raises: ValueError."""
    try:
        return int(text)
    except ValueError:
        number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not finite")
    return number


class Size(click.ParamType):
    """An image size: `256`, or `640x480` for width x height; gives (height, width)."""

    name = "size"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """`value` as (height, width) in px."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d+)(?:[xX](\d+))?", value)
        if not match or not int(match[1]) or match[2] and not int(match[2]):
            self.fail(
                f"expected a size like 256 or 640x480 (width x height), got {value!r}", param, ctx
            )
        return int(match[2] or match[1]), int(match[1])


class Pair(click.ParamType):
    """Two numbers: `0.25,-0.1` or, for a range of values, `0,4095`."""

    name = "pair"

    def __init__(self, example: str = "0.25,-0.1") -> None:
        self.example = example

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        """`value` as (x, y)."""
        if isinstance(value, tuple):
            return value
        try:
            x, y = map(float, value.split(","))
        except ValueError:
            self.fail(f"expected two numbers like {self.example}, got {value!r}", param, ctx)
        if not (math.isfinite(x) and math.isfinite(y)):
            self.fail(f"expected finite numbers, got {value!r}", param, ctx)
        return x, y


def finite(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Option callback: refuses NaN and infinities, which float() takes."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"expected a finite number, got {value}")
    return value
