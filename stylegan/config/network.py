# SPDX-License-Identifier: Apache-2.0
"""What networks are built from."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from stylegan.config.numbers import as_size, as_widths, plain_list, reason_against_taps
from stylegan.config.options import (
    Auto,
    Automatic,
    Known,
    check_options,
    like,
    option,
    plain_numbers,
    short_repr,
)
from stylegan.errors import UserError

ARCHITECTURES = ("skip", "resnet", "orig")
CHANNELS = (1, 3, 4)
MAX_MAPPING_LAYERS = 64
MIN_BLOCK_SIDE = 3  # so that squares of 2^n px begin at 4x4
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
# Options whose limits hold for files and programs too; z_dim may be 0 in a network with labels.
CHECKED = (
    *("w_dim", "mapping_layers", "channel_base", "channel_max", "channel_factor"),
    *("min_block_side", "architecture", "precision", "conv_clamp"),
    *("mbstd_group", "filter_size", "lrelu_upsampling", "margin"),
)

_option = functools.partial(option, group="Model")


def default_channel_base(resolution: tuple[int, int]) -> int:
    """channel_base if none is given: 32768 from 512 px on, else 16384."""
    return 32768 if (resolution[0] * resolution[1]) ** 0.5 >= 512 else 16384


def _channel_base(k: Known) -> int:
    return default_channel_base((k.height, k.width))


@dataclass(frozen=True, repr=False)
class GeneratorConfig:
    """What a generator of StyleGAN2 is built from."""

    model: str = "stylegan2"  # a preset decides it
    # These three follow from the data set:
    resolution: tuple[int, int] = (256, 256)  # height, width in px; an int means square
    channels: int = 3  # 1 grey, 3 RGB, 4 RGBA
    c_dim: int = 0  # width of the label vector, the number of classes; 0 unconditional
    z_dim: int = _option(512, "Width of the latent z.", min=1)
    w_dim: int = _option(512, "Width of the intermediate latent w.", min=1)
    mapping_layers: int = _option(
        8, "Fully connected layers from z to w.", min=0, max=MAX_MAPPING_LAYERS
    )
    architecture: str = _option(
        "skip",
        "Architecture of G in StyleGAN2 (arXiv:1912.04958, figure 7).",
        names=("--g-architecture",),
        choices=ARCHITECTURES,
    )
    channel_base: Auto[int] = _option(
        32768,
        "Capacity: a block of r px has channel_base / r channels, a layer of StyleGAN3 with cutoff "
        "f channel_base / 2f.",
        min=1,
        automatic=Automatic("by resolution: 32768 from 512 px on, else 16384", _channel_base),
    )
    channel_max: int = _option(512, "Maximum number of channels of a layer.", min=1)
    widths: tuple[int, ...] | None = _option(
        None,
        "Channels of every block of StyleGAN2, from 4 px on: 512,512,256.",
        none="from --channel-base and --channel-max",
    )
    min_block_side: int = _option(
        MIN_BLOCK_SIDE,
        "Shorter side in px that the smallest block of StyleGAN2 has at least; 2 in networks of "
        "StyleGAN-Human.",
        min=2,
        max=64,
    )
    resample_filter: tuple[float, ...] = _option(
        (1, 3, 3, 1), "Taps of the low-pass filter of resampling in StyleGAN2."
    )
    conv_clamp: float | None = _option(
        256, "Maximum magnitude of an activation; 0: no limit.", min=0, none_is=0, none="no limit"
    )
    use_noise: bool = _option(True, "Noise inputs in every layer of StyleGAN2, for fine detail.")
    low_precision_blocks: int = _option(
        4,
        "How many of the highest resolutions run in --precision. In StyleGAN3 n means layers with "
        "more than resolution / 2^n px.",
        min=0,
    )
    precision: str = _option(
        "auto",
        "Precision of the highest resolutions; auto is float16 on CUDA if --conv-clamp limits "
        "activations, else float32.",
        choices=PRECISIONS,
    )
    w_avg_beta: float = _option(0.995, "Decay per batch of the running mean of w.", min=0, max=1)

    __repr__ = short_repr

    def __post_init__(self) -> None:
        _check_network(self)

    @property
    def title(self) -> str:
        """The architecture, for people."""
        return f"StyleGAN2, {self.architecture}"


_as_stylegan2 = functools.partial(like, GeneratorConfig)


@dataclass(frozen=True, repr=False)
class Stylegan3Config:
    """What a generator of StyleGAN3 is built from. Fields that StyleGAN2 has too mean the same.

    Frequencies are in cycles per image: a grid of n px holds those up to n/2.
    """

    model: str = "stylegan3"
    resolution: tuple[int, int] = (256, 256)  # square, a power of two from 16 px on
    channels: int = 3
    c_dim: int = 0
    z_dim: int = _as_stylegan2("z_dim")
    w_dim: int = _as_stylegan2("w_dim")
    mapping_layers: int = _as_stylegan2("mapping_layers", 2)
    channel_base: Auto[int] = _as_stylegan2("channel_base")
    channel_max: int = _as_stylegan2("channel_max")
    channel_factor: int = _option(
        1,
        "Factor on --channel-base and --channel-max in StyleGAN3; R has 2, to make up for its 1x1 "
        "convolutions.",
        min=1,
    )
    conv_clamp: float | None = _as_stylegan2("conv_clamp")
    low_precision_blocks: int = _as_stylegan2("low_precision_blocks")
    precision: str = _as_stylegan2("precision")
    w_avg_beta: float = _as_stylegan2("w_avg_beta", 0.998)
    num_layers: int = _option(
        14,
        "Layers of StyleGAN3, without the input and the last, which makes image channels.",
        min=1,
    )
    num_critical: int = _option(
        2, "Last layers of StyleGAN3 whose filters reach up to the cutoff of their grid.", min=0
    )
    first_cutoff: float = _option(
        2.0, "Cutoff of the first layer of StyleGAN3, in cycles per image.", above=0
    )
    first_stopband: float = _option(
        2**2.1, "Frequency above which the first layer of StyleGAN3 passes nothing.", above=0
    )
    last_stopband_rel: float = _option(
        2**0.3, "Stopband of the last layer of StyleGAN3, in cutoffs.", above=0
    )
    margin: int = _option(
        10, "Px around the image that the layers of StyleGAN3 also compute.", min=0
    )
    filter_size: int = _option(
        6, "Taps of a resampling filter of StyleGAN3 per px of the coarser grid.", min=1
    )
    lrelu_upsampling: int = _option(
        2, "The activation of StyleGAN3 works on a grid finer by this factor.", min=1
    )
    output_scale: float = _option(0.25, "Factor on the image in StyleGAN3.", above=0)
    conv_kernel: int = _option(3, "Kernel size of StyleGAN3: T has 3, R has 1.", choices=(1, 3))
    radial_filters: bool = _option(
        False, "Downsampling filters of StyleGAN3 that favour no direction, as R has them."
    )
    magnitude_ema_kimg: float = _option(
        20.0, "Half-life in kimg of the running mean of magnitudes in StyleGAN3.", above=0
    )

    __repr__ = short_repr

    def __post_init__(self) -> None:
        _check_network(self)
        if not 0 <= self.num_critical < self.num_layers:
            raise UserError(
                "num_layers",
                f"expected more than num_critical, {self.num_critical}, and that not "
                f"negative; got {self.num_layers}",
            )
        height, width = self.resolution
        if height != width or height < 16 or height & (height - 1):
            nearest = 1 << max(round(math.log2(min(height, width))), 4)
            raise UserError(
                "resolution",
                f"StyleGAN3 draws squares of 16, 32, 64, ... px, not {width}x{height}; "
                f"the nearest is {nearest}",
            )

    @property
    def title(self) -> str:
        """The architecture, for people."""
        kinds = {(3, False): "-T", (1, True): "-R"}
        return "StyleGAN3" + kinds.get((self.conv_kernel, self.radial_filters), "")


@dataclass(frozen=True, repr=False)
class DiscriminatorConfig:
    """What a discriminator is built from. Fields that the generator has too mean the same."""

    resolution: tuple[int, int] = (256, 256)
    channels: int = 3
    c_dim: int = 0
    architecture: str = _as_stylegan2(
        "architecture", "resnet", names=("--d-architecture",), help="Architecture of D."
    )
    channel_base: Auto[int] = _as_stylegan2("channel_base")
    channel_max: int = _as_stylegan2("channel_max")
    widths: tuple[int, ...] | None = _as_stylegan2("widths")
    min_block_side: int = _as_stylegan2("min_block_side")
    resample_filter: tuple[float, ...] = _as_stylegan2("resample_filter")
    conv_clamp: float | None = _as_stylegan2("conv_clamp")
    low_precision_blocks: int = _as_stylegan2("low_precision_blocks")
    precision: str = _as_stylegan2("precision")
    mapping_layers: int = _as_stylegan2(
        "mapping_layers",
        names=("--d-mapping-layers",),
        help="Fully connected layers that the label passes in D, with --cond.",
    )
    mbstd_group: int | None = _option(
        4,
        "Samples per group of the minibatch standard deviation in D; 0: the batch.",
        min=0,
        none_is=0,
        none="the batch",
    )
    mbstd_channels: int = _option(
        1, "Channels that the minibatch standard deviation appends; 0: none.", min=0
    )

    __repr__ = short_repr

    def __post_init__(self) -> None:
        _check_network(self)


MODELS = {"stylegan2": GeneratorConfig, "stylegan3": Stylegan3Config}


def model_config(model: str) -> type[GeneratorConfig] | type[Stylegan3Config]:
    """The config of a generator's model. Raises: UserError if there is none of that name."""
    if model not in MODELS:
        raise UserError("model", f"expected one of {', '.join(MODELS)}, got {model!r}")
    return MODELS[model]


def _check_network(c: GeneratorConfig | Stylegan3Config | DiscriminatorConfig) -> None:
    """Bring sizes and lists into their form, and check what a wrong file may hold."""
    object.__setattr__(c, "resolution", as_size(c.resolution))
    plain_numbers(c)
    for name in ("c_dim", "z_dim", "w_dim"):
        value = getattr(c, name, 0)
        if type(value) is int and value < 0:
            raise UserError(name, f"expected 0 or more, got {value}")
    model = getattr(c, "model", None)
    if model and not isinstance(c, model_config(model)):
        raise UserError("model", f"{type(c).__name__} is not of {model}")
    if hasattr(c, "resample_filter"):
        taps = plain_list(c.resample_filter)
        if reason := reason_against_taps(taps):
            raise UserError("resample_filter", f"the taps {reason}")
        object.__setattr__(c, "resample_filter", tuple(taps))
    check_options(c, CHECKED)
    if isinstance(c, (GeneratorConfig, Stylegan3Config)):
        _check_mapping(c)
    widths = getattr(c, "widths", None)
    if widths is not None:
        object.__setattr__(c, "widths", as_widths(widths))
    if c.channels not in CHANNELS:
        allowed = ", ".join(map(str, CHANNELS))
        raise UserError("channels", f"expected one of {allowed}, got {c.channels!r}")


def _check_mapping(c: GeneratorConfig | Stylegan3Config) -> None:
    """Raises: UserError if nothing enters the mapping network, or there are no layers to make w
    from that."""
    if not c.z_dim and not c.c_dim:
        raise UserError("z_dim", "expected 1 or more in a network without labels, got 0")
    if c.mapping_layers == 0 and c.c_dim and c.z_dim:
        raise UserError("mapping_layers", "expected 1 or more in a network with labels, got 0")
    if c.mapping_layers == 0 and not c.c_dim and c.z_dim != c.w_dim:
        raise UserError(
            "mapping_layers",
            f"without layers z is w: expected z_dim and w_dim to be equal, got {c.z_dim} and "
            f"{c.w_dim}",
        )
