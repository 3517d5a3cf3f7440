# SPDX-License-Identifier: Apache-2.0
"""Which images to train on."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from stylegan.config.network import CHANNELS
from stylegan.config.numbers import as_range, as_size
from stylegan.config.options import (
    Automatic,
    check_options,
    option,
    plain_numbers,
    short_repr,
)

_option = functools.partial(option, group="Data")


@dataclass(frozen=True, repr=False)
class DataConfig:
    """Which images, and how they are read."""

    path: str | None = _option(
        None,
        "Folder, zip or tar of images, also in nested folders. faces and emoji come with the "
        "package.",
        names=("--data",),
        metavar="PATH",
        none="faces",
    )
    resolution: tuple[int, int] | None = _option(
        None,
        "Crop and resize images to this size in px, 256 or 640x480 (width x height).",
        automatic=Automatic("the size of the images"),
    )
    channels: int | None = _option(
        None,
        "Grey, RGB or RGBA.",
        choices=CHANNELS,
        none_is="auto",
        automatic=Automatic("auto, whichever most images have"),
    )
    value_range: tuple[float, float] | None = _option(
        None,
        "Values of black and white in images of more than 8 bits: 0,4095.",
        names=("--range",),
        metavar="LOW,HIGH",
        automatic=Automatic("chosen from the images"),
    )
    cond: bool = _option(False, "Train on the labels.")
    balance_classes: bool = _option(
        False, "Show every class equally often, however many images it has."
    )
    mirror: bool = _option(False, "Show images flipped half of the time.")
    max_images: int | None = _option(
        None, "Train on a random subset of this many images.", above=0, none="all"
    )
    zip_encoding: str | None = _option(
        None,
        "Encoding of file names that are not marked as UTF-8: gbk, shift_jis, cp437.",
        metavar="NAME",
        none="a guess",
    )
    workers: int | None = _option(
        None,
        "Processes that load images; 0 loads them in the training process.",
        min=0,
        automatic=Automatic("0 if the decoded images fit in memory, else one per CPU, at most 8"),
    )

    __repr__ = short_repr

    def __post_init__(self) -> None:
        if self.resolution is not None:
            object.__setattr__(self, "resolution", as_size(self.resolution))
        if self.value_range is not None:
            object.__setattr__(self, "value_range", as_range(self.value_range))
        plain_numbers(self)
        check_options(self)
