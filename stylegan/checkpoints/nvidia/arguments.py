# SPDX-License-Identifier: Apache-2.0
"""Our settings as NVIDIA's constructor arguments."""

from __future__ import annotations

from typing import Any

from stylegan.config import DiscriminatorConfig, GeneratorConfig, Stylegan3Config
from stylegan.errors import UserError
from stylegan.models.sizes import blocks_of, channels_of

NUM_FP16_RES = 4  # default of num_fp16_res
TAPS = (1, 3, 3, 1)  # default of resample_filter
# Defaults of constructor arguments. NVIDIA's files record only the arguments that differ.
DEFAULTS = {
    "num_fp16_res": NUM_FP16_RES,
    "conv_clamp": 256,
    "w_avg_beta": 0.998,
    "resample_filter": TAPS,
    "use_noise": True,
    "num_layers": 14,
    "num_critical": 2,
    "first_cutoff": 2,
    "first_stopband": 2**2.1,
    "last_stopband_rel": 2**0.3,
    "margin_size": 10,
    "output_scale": 0.25,
    "conv_kernel": 3,
    "filter_size": 6,
    "lrelu_upsampling": 2,
    "use_radial_filters": False,
}

BlockConfig = GeneratorConfig | DiscriminatorConfig
NetworkConfig = GeneratorConfig | Stylegan3Config | DiscriminatorConfig


def non_default(**arguments: Any) -> dict[str, Any]:
    """The arguments that differ from `DEFAULTS`."""
    values = {k: v for k, v in arguments.items() if v != DEFAULTS[k]}
    return {k: list(v) if type(v) is tuple else v for k, v in values.items()}


def block_sizes(name: str, c: BlockConfig) -> list[int]:
    """Resolutions of the blocks: 4, 8, ... px. Raises: UserError for other resolutions."""
    height, width = c.resolution
    sizes = blocks_of(c)
    if height != width or height < 8 or height & (height - 1) or sizes[4] != (4, 4):
        raise UserError(
            f"{name}.resolution",
            f"NVIDIA's programs support squares of 8, 16, 32, ... px, not {width}x{height}",
        )
    return list(sizes)


def channel_rule(name: str, c: BlockConfig, sizes: list[int]) -> dict[str, int]:
    """channel_base and channel_max that give the channels of all blocks.

    Raises: UserError if there are none.
    """
    widths = [channels_of(size, c) for size in sizes]
    for base, top in ((c.channel_base, c.channel_max), (widths[-1] * sizes[-1], max(widths))):
        if base is not None and widths == [min(base // size, top) for size in sizes]:
            return {"channel_base": base, "channel_max": top}
    raise UserError(
        f"{name}.widths",
        "NVIDIA's programs have min(channel_base // resolution, channel_max) "
        f"channels in every block, not {', '.join(map(str, widths))}",
    )


def is_half(c: NetworkConfig) -> bool:
    """Whether the low-precision blocks run in float16, the only low precision of NVIDIA's."""
    return c.precision in ("auto", "float16")


def half_blocks(c: BlockConfig, sizes: list[int]) -> int:
    """num_fp16_res; the default if it means the same."""
    max_half = len(sizes) - 1
    low = min(c.low_precision_blocks, max_half) if is_half(c) else 0
    return NUM_FP16_RES if low == min(NUM_FP16_RES, max_half) else low


def image_arguments(c: NetworkConfig) -> dict[str, int]:
    """Resolution and channels of the images."""
    return {"img_resolution": c.resolution[0], "img_channels": c.channels}


def fields(c: NetworkConfig, *names: str) -> dict[str, Any]:
    """Settings by name."""
    return {name: getattr(c, name) for name in names}
