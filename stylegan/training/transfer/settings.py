# SPDX-License-Identifier: Apache-2.0
"""The structure of a new run's networks, from the network that it starts with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from stylegan.config import Config
from stylegan.config.network import MIN_BLOCK_SIDE
from stylegan.config.options import option_of
from stylegan.models.sizes import block_resolutions
from stylegan.runs.resume import Difference, differences

# Settings of the networks that do not change what their weights mean.
NOT_STRUCTURE = {
    "precision",
    "low_precision_blocks",
    "w_avg_beta",
    "magnitude_ema_kimg",
    "mbstd_group",
}
# Weights of all sizes fit whatever these are, but mean something else.
UNSEEN = {"--resample-filter", "--conv-clamp", "--output-scale", "--lrelu-upsampling"}


def preset_for(source: Config) -> str:
    """The preset whose training settings fit the model of `source`."""
    if source.G.model == "stylegan3":
        return "stylegan3-r" if getattr(source.G, "conv_kernel", 3) == 1 else "stylegan3-t"
    return "auto"


def with_structure_of(config: Config, source: Config, resolution: tuple[int, int]) -> Config:
    """`config` with the structure of the networks of `source`, which is of the same model.

    Args: resolution: (height, width) in px of the new run.
    """
    G = replace(config.G, **_structure(source.G, resolution))
    D = replace(config.D, **_structure(source.D, resolution))
    return replace(config, G=G, D=D)


def structural_differences(there: Config, here: Config) -> list[Difference]:
    """The settings of the networks in which two configs differ and that weights depend on."""
    kept = [
        replace(
            config,
            data=Config().data,
            train=Config().train,
            G=replace(config.G, resolution=there.G.resolution, channels=3, c_dim=0),
            D=replace(config.D, resolution=there.D.resolution, channels=3, c_dim=0),
        )
        for config in (there, here)
    ]
    ignored = {flag for flags in _flags(NOT_STRUCTURE, here) for flag in flags}
    return [row for row in differences(*kept) if row.option not in ignored]


def _flags(names: Iterable[str], config: Config) -> list[tuple[str, ...]]:
    found = []
    for part in (config.G, config.D):
        for field in dataclasses.fields(part):
            shown = option_of(field)
            if field.name in names and shown:
                dests = (field.name, f"g_{field.name}", f"d_{field.name}")
                found += [shown.flags(dest) for dest in dests]
    return found


def _structure(network: Any, resolution: tuple[int, int]) -> dict[str, Any]:
    values = {
        field.name: getattr(network, field.name)
        for field in dataclasses.fields(network)
        if option_of(field) and field.name not in NOT_STRUCTURE
    }
    (height, width), (h, w) = resolution, network.resolution
    if height * w != h * width:
        values.pop("min_block_side", None)  # it belongs to the shape of the images
    widths = values.get("widths")
    if widths is not None:
        min_side = values.get("min_block_side", MIN_BLOCK_SIDE)
        values["widths"] = _fitted(widths, len(block_resolutions(resolution, min_side)))
    return values


def _fitted(widths: tuple[int, ...], count: int) -> tuple[int, ...]:
    """The channels of `count` blocks that are those of `widths` as far as it goes; every further
    block has half as many."""
    longer = list(widths)
    while len(longer) < count:
        longer.append(max(longer[-1] // 2, 1))
    return tuple(longer[:count])
