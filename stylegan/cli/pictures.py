# SPDX-License-Identifier: Apache-2.0
"""Options of the commands that write pictures: how large, and what is written on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import click

from stylegan.words import pixels

if TYPE_CHECKING:
    from stylegan.imaging import Layout

MAX_SCALE = 64
MAX_PIXELS = 1 << 28  # of a picture that --scale makes: 800 MB of memory in RGB
MAX_WEBP_SIDE = 16383  # px, the limit of the format


class ScaleType(click.ParamType):
    """How much pictures are enlarged: a whole number, or `auto`."""

    name = "scale"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | Literal["auto"]:
        """`value` as an int from 1 to 64, or "auto"."""
        if isinstance(value, int) or value == "auto":
            return value
        number = value.lower().removesuffix("x")
        if not number.isascii() or not number.isdecimal() or not 1 <= int(number) <= MAX_SCALE:
            self.fail(
                f"expected a number from 1 to {MAX_SCALE}, or auto, got {value!r}", param, ctx
            )
        return int(number)


def scale_option(help: str, default: str | None = "auto") -> Callable:
    """--scale."""
    return click.option(
        "--scale",
        type=ScaleType(),
        metavar="N|auto",
        default=default,
        show_default=default is not None,
        help=help,
    )


def captions_option(help: str) -> Callable:
    """--captions."""
    return click.option("--captions", is_flag=True, help=help)


def check_size(size: tuple[int, int], scale: int) -> None:
    """Raises: click.UsageError if an enlarged picture of (width, height) px is too large."""
    if scale > 1 and size[0] * size[1] > MAX_PIXELS:
        raise click.UsageError(
            f"--scale {scale} makes a picture of {pixels(size[::-1])} px, which is too large; "
            "give a smaller number"
        )


def check_sheet(suffix: str, layout: Layout, fix: str) -> None:
    """Whether a format holds a sheet.

    Args:
        suffix: .png or .webp.
        layout: of the sheet.
        fix: the option that helps, as in "--format png does".
    Raises: click.UsageError if the sheet is too large.
    """
    if suffix == ".webp" and max(layout.size) > MAX_WEBP_SIDE:
        raise click.UsageError(
            f"a WebP holds at most {MAX_WEBP_SIDE} px a side, the sheet has "
            f"{pixels(layout.size[::-1])}; {fix}"
        )
    check_size(layout.size, layout.scale)


def class_text(name: str, number: int | str) -> str:
    """A class on a picture: its name, or its number if the font lacks a character of the name."""
    from stylegan.imaging import can_write

    return name if name and can_write(name) else f"class {number}"
