# SPDX-License-Identifier: Apache-2.0
"""Option types and options that several commands share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click


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
            if last < first or last - first >= 1_000_000:
                self.fail(
                    f"{part.strip()!r} is not a range of at most a million numbers", param, ctx
                )
            numbers += range(first, last + 1)
        return numbers


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
    """Two numbers: `0.25,-0.1`."""

    name = "pair"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        """`value` as (x, y)."""
        if isinstance(value, tuple):
            return value
        try:
            x, y = map(float, value.split(","))
        except ValueError:
            self.fail(f"expected two numbers like 0.25,-0.1, got {value!r}", param, ctx)
        if not (math.isfinite(x) and math.isfinite(y)):
            self.fail(f"expected finite numbers, got {value!r}", param, ctx)
        return x, y


def finite(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Option callback: refuses NaN and infinities, which float() takes."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"expected a finite number, got {value}")
    return value


def make_folder(path: str | Path, option: str) -> Path:
    """Make a folder for output. Raises: click.BadParameter that names the option."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as e:
        reason = f"cannot make the folder {path} ({e.strerror})"
        raise click.BadParameter(reason, param_hint=option) from e
    return Path(path)


def use_settings_of(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Option callback: state dicts that the command opens have the settings of a network."""
    if value is not None and not ctx.resilient_parsing:
        from stylegan.checkpoints.state_dict.like import settings_like
        from stylegan.networks import load_networks

        ctx.with_resource(settings_like(lambda: load_networks(value, "cpu").config))
    return value


LIKE_HELP = (
    "Network with the settings of a state dict, which is a file of weights alone.  [default: from "
    "the shapes of its tensors]"
)
like_option = click.option(
    "--like", metavar="NETWORK", expose_value=False, callback=use_settings_of, help=LIKE_HELP
)


def network_argument(function: Callable) -> Callable:
    """The positional NETWORK, and --like for it, the last option in help."""
    function = like_option(click.argument("network", metavar="NETWORK")(function))
    parameters = function.__click_params__  # type: ignore[attr-defined]
    parameters.insert(0, parameters.pop())
    return function


NOISE_MODES = {"const": "the network's own", "random": "fresh", "none": "none"}  # as help says


def picture_options(noise_modes: Sequence[str] = tuple(NOISE_MODES)) -> Callable:
    """Options of every command that generates: truncation, class, noise, device."""
    *first, last = (NOISE_MODES[mode] for mode in noise_modes)
    options = [
        click.option(
            "--trunc",
            type=float,
            default=1.0,
            show_default=True,
            callback=finite,
            help="Truncation psi: 1 as trained, less for fewer odd images, 0 for the average "
            "image.",
        ),
        click.option(
            "--class", "label", metavar="NAME|NUMBER", help="Class of a conditional network."
        ),
        click.option(
            "--noise-mode",
            type=click.Choice(noise_modes),
            default="const",
            show_default=True,
            help=f"Fine random detail: {', '.join(first)} or {last}. StyleGAN3 has none.",
        ),
        device_option,
    ]

    def decorate(function: Callable) -> Callable:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


device_option = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps."
)
