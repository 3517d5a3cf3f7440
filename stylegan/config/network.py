# SPDX-License-Identifier: Apache-2.0
"""What networks are built from."""

import math
from dataclasses import dataclass

from stylegan.errors import UserError

ARCHITECTURES = ("skip", "resnet", "orig")
MAX_MAPPING_LAYERS = 64  # of a mapping network
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class GeneratorConfig:
    """What a generator of StyleGAN2 is built from."""

    model: str = "stylegan2"
    resolution: tuple = (256, 256)  # height, width in px; an int means square
    channels: int = 3  # 1 grey, 3 RGB, 4 RGBA
    c_dim: int = 0  # width of the label vector, the number of classes; 0 unconditional
    z_dim: int = 512  # width of the latent z
    w_dim: int = 512  # width of the intermediate latent w
    mapping_layers: int = 8  # fully connected layers from z to w
    architecture: str = "skip"  # skip, resnet or orig (arXiv:1912.04958, figure 7)
    channel_base: int | None = (
        32768  # a block at nominal resolution r has channel_base // r channels ...
    )
    channel_max: int = 512  # ... but at most this many. channel_base None: by resolution
    widths: tuple | None = None  # channels of every block, from 4 px on, in place of both
    resample_filter: tuple = (1, 3, 3, 1)  # taps of the low-pass filter of every resampling
    conv_clamp: float | None = 256  # largest magnitude of an activation; None does not clamp
    use_noise: bool = True  # noise images as inputs of every layer, for detail without meaning
    low_precision_blocks: int = 4  # the highest resolutions that run in `precision`
    precision: str = "auto"  # of those blocks: auto is float16 on CUDA and float32 elsewhere
    w_avg_beta: float = 0.995  # decay of the running mean of w, per batch

    def __post_init__(self):
        _check_network(self)

    @property
    def title(self):
        """The architecture, for people."""
        return f"StyleGAN2, {self.architecture}"


@dataclass(frozen=True)
class Stylegan3Config:
    """What a generator of StyleGAN3 is built from. Fields that StyleGAN2 has too mean the same.

    Frequencies are in cycles per image: a grid of n px holds those up to n/2.
    """

    model: str = "stylegan3"
    resolution: tuple = (256, 256)  # square, a power of two from 16 px on
    channels: int = 3
    c_dim: int = 0
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 2
    channel_base: int | None = 32768  # a layer of cutoff f has channel_base / (2 f) channels ...
    channel_max: int = 512  # ... but at most this many. channel_base None: by resolution
    channel_factor: int = 1  # on both; R has 2, to make up for its 1x1 convolutions
    conv_clamp: float | None = 256
    low_precision_blocks: int = 4  # layers with more than resolution / 2^this px run in `precision`
    precision: str = "auto"
    w_avg_beta: float = 0.998
    num_layers: int = 14  # without the input and the last, which makes image channels
    num_critical: int = 2  # last layers whose filters reach up to the cutoff of their grid
    first_cutoff: float = 2.0  # of the low-pass filter of the first layer, and
    first_stopband: float = 2**2.1  # the frequency above which it lets nothing through
    last_stopband_rel: float = 2**0.3  # the last stopband, in cutoffs
    margin: int = 10  # px around the image that layers work on as well
    filter_size: int = 6  # taps of a resampling filter per px of the coarser grid
    lrelu_upsampling: int = 2  # the nonlinearity works on a grid finer by this
    output_scale: float = 0.25  # factor on the image
    conv_kernel: int = 3  # T has 3, R has 1
    radial_filters: bool = False  # R has them: down-sampling filters that favour no direction
    magnitude_ema_kimg: float = 20.0  # half-life of the running mean of magnitudes

    def __post_init__(self):
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
    def title(self):
        """The architecture, for people."""
        kinds = {(3, False): "-T", (1, True): "-R"}
        return "StyleGAN3" + kinds.get((self.conv_kernel, self.radial_filters), "")


@dataclass(frozen=True)
class DiscriminatorConfig:
    """What a discriminator is built from. Fields that the generator has too mean the same."""

    resolution: tuple = (256, 256)
    channels: int = 3
    c_dim: int = 0
    architecture: str = "resnet"
    channel_base: int | None = 32768
    channel_max: int = 512
    widths: tuple | None = None
    resample_filter: tuple = (1, 3, 3, 1)
    conv_clamp: float | None = 256
    low_precision_blocks: int = 4
    precision: str = "auto"
    mapping_layers: int = 8  # of the label's mapping; unused where c_dim is 0
    mbstd_group: int | None = (
        4  # samples per group of the minibatch standard deviation; None is the batch
    )
    mbstd_channels: int = 1  # channels that it appends; 0 leaves it out

    def __post_init__(self):
        _check_network(self)


MODELS = {"stylegan2": GeneratorConfig, "stylegan3": Stylegan3Config}


def model_config(model):
    """The config of a generator's model. Raises: UserError if there is none of that name."""
    if model not in MODELS:
        raise UserError("model", f"expected one of {', '.join(MODELS)}, got {model!r}")
    return MODELS[model]


def as_size(resolution):
    """`resolution`, an int or (height, width) in px, as a tuple. Raises: UserError."""
    size = (resolution, resolution) if isinstance(resolution, int) else tuple(resolution)
    if len(size) != 2 or not all(isinstance(s, int) and s > 0 for s in size):
        raise UserError(
            "resolution", f"expected an int or (height, width) in px, got {resolution!r}"
        )
    return size


def default_channel_base(resolution):
    """channel_base where none is given: 32768 from 512 px on, else 16384."""
    return 32768 if (resolution[0] * resolution[1]) ** 0.5 >= 512 else 16384


def _check_network(c):
    object.__setattr__(c, "resolution", as_size(c.resolution))
    model = getattr(c, "model", None)
    if model and not isinstance(c, model_config(model)):
        raise UserError("model", f"{type(c).__name__} is not of {model}")
    if hasattr(c, "resample_filter"):
        object.__setattr__(c, "resample_filter", tuple(c.resample_filter))
    if not 0 <= c.mapping_layers <= MAX_MAPPING_LAYERS:
        raise UserError(
            "mapping_layers", f"expected 0 to {MAX_MAPPING_LAYERS}, got {c.mapping_layers}"
        )
    if getattr(c, "widths", None) is not None:
        object.__setattr__(c, "widths", tuple(c.widths))
        if not c.widths or not all(type(n) is int and n > 0 for n in c.widths):
            raise UserError("widths", f"expected channels of every block, got {c.widths}")
    for name, allowed in (
        ("architecture", ARCHITECTURES),
        ("precision", PRECISIONS),
        ("channels", (1, 3, 4)),
    ):
        value = getattr(c, name, allowed[0])
        if value not in allowed:
            raise UserError(name, f"expected one of {', '.join(map(str, allowed))}, got {value!r}")
