# SPDX-License-Identifier: Apache-2.0
"""Every setting, with its meaning. A command-line flag is a field here."""

import dataclasses
from dataclasses import dataclass, field, replace

from stylegan.errors import UserError

ARCHITECTURES = ("skip", "resnet", "orig")
LOSSES = ("nonsaturating", "saturating")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class GeneratorConfig:
    """What a generator is built from."""

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
    resample_filter: tuple = (1, 3, 3, 1)  # taps of the low-pass filter of every resampling
    conv_clamp: float | None = 256  # largest magnitude of an activation; None does not clamp
    use_noise: bool = True  # noise images as inputs of every layer, for detail without meaning
    low_precision_blocks: int = 4  # the highest resolutions that run in `precision`
    precision: str = "auto"  # of those blocks: auto is float16 on CUDA and float32 elsewhere
    w_avg_beta: float = 0.995  # decay of the running mean of w, per batch

    def __post_init__(self):
        _check_network(self)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """What a discriminator is built from. Fields that the generator has too mean the same."""

    resolution: tuple = (256, 256)
    channels: int = 3
    c_dim: int = 0
    architecture: str = "resnet"
    channel_base: int | None = 32768
    channel_max: int = 512
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


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are read."""

    path: str | None = None  # folder or zip; None is the embedded demo
    resolution: tuple | None = (
        None  # height, width in px to crop and resize to; None takes images as they are
    )
    channels: int | None = None  # 1, 3 or 4; None takes what most images have
    cond: bool = False  # train on the labels
    mirror: bool = False  # show every image flipped half of the time
    max_images: int | None = None  # train on a random subset of this many; None: all
    workers: int | None = None  # loader processes; None: 0 where the decoded images fit in memory

    def __post_init__(self):
        if self.resolution is not None:
            object.__setattr__(self, "resolution", as_size(self.resolution))
        if self.channels not in (None, 1, 3, 4):
            raise UserError(f"channels: expected 1, 3 or 4, got {self.channels}")
        if self.max_images is not None and not self.max_images > 0:
            raise UserError(f"max_images: expected a number above 0, got {self.max_images}")


@dataclass(frozen=True)
class TrainConfig:
    """How to train. kimg counts thousands of real images shown to the discriminator."""

    kimg: float = 25000  # length of the run
    minutes: float | None = None  # end the run after this long, if that comes first
    batch: int | None = 32  # images per step, over all devices; None: by resolution
    batch_gpu: int | None = None  # images at once on one device; the rest is accumulated. None: all
    loss: str = "nonsaturating"  # or saturating, the minimax objective of the original GAN
    g_lr: float | None = 0.002  # Adam's step for G; None: by resolution
    d_lr: float | None = 0.002  # Adam's step for D; None: by resolution
    r1_gamma: float | None = 10  # weight of R1; None: 0.0002 * height * width / batch
    r1_interval: int = 16  # steps between R1 steps
    pl_weight: float = 2  # weight of path length regularisation; 0 switches it off
    pl_interval: int = 4  # steps between path length steps
    pl_decay: float = 0.01  # of the running mean of path lengths
    pl_batch_shrink: int = 2  # path length sees the batch divided by this
    style_mixing: float = 0.9  # probability of two latents per image
    ema_kimg: float | None = 10  # half-life of the average of G's weights; None: batch * 10 / 32
    ema_rampup: float | None = (
        None  # half-life at most this fraction of the images seen so far; None: off
    )
    seed: int = 0  # of the weights, latents and the order of the images
    init_from: str | None = None  # network whose weights are taken where they fit
    snapshot_kimg: float = 200  # between snapshots; the last one is always written
    snapshot_minutes: float | None = 15  # between snapshots at most; None: by kimg alone
    keep: int | None = 10  # snapshots; older ones are deleted. None: all
    grid_kimg: float = 50  # between sample grids
    tick_kimg: float = 4  # between lines of the log
    tf32: bool = True  # TensorFloat-32 in float32 convolutions and products on CUDA
    ops: str | None = None  # backend: auto, native, reference; None: as STYLEGAN_OPS says, or auto

    def __post_init__(self):
        if self.loss not in LOSSES:
            raise UserError(f"loss: expected one of {', '.join(LOSSES)}, got {self.loss!r}")
        for name in (
            "kimg",
            "r1_interval",
            "pl_interval",
            "pl_batch_shrink",
            "tick_kimg",
            "grid_kimg",
            "snapshot_kimg",
            "snapshot_minutes",
            "keep",
            "minutes",
            "batch",
            "batch_gpu",
        ):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"{name}: expected a number above 0, got {value}")
        if self.batch and self.batch_gpu and self.batch % self.batch_gpu:
            raise UserError(f"batch_gpu: {self.batch_gpu} does not divide batch {self.batch}")


@dataclass(frozen=True)
class Config:
    """A whole run; saved in every snapshot."""

    G: GeneratorConfig = field(default_factory=GeneratorConfig)
    D: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def to_dict(self):
        """As plain dictionaries and lists, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values):
        """The inverse of `to_dict`. Raises: UserError for a field that this version does not
        know."""
        parts = {}
        for part in dataclasses.fields(cls):
            kind = part.default_factory
            given = values.get(part.name, {})
            unknown = set(given) - {f.name for f in dataclasses.fields(kind)}
            if unknown:
                raise UserError(f"config: unknown setting {part.name}.{sorted(unknown)[0]}")
            parts[part.name] = kind(**{k: _untuple(v) for k, v in given.items()})
        return cls(**parts)

    def with_fields(self, **fields):
        """A copy with `fields` set in every part that has them (resolution in G and in D).

        `g_architecture` and `d_architecture` mean the one network alone; `resolution` and
        `channels` set the networks, while the data keeps its own.
        """
        parts = {"G": {}, "D": {}, "train": {}, "data": {}}
        for name, value in fields.items():
            hits = _owners(name)
            if not hits:
                raise UserError(f"config: there is no setting {name!r}")
            for part, attribute in hits:
                parts[part][attribute] = value
        return replace(self, **{p: replace(getattr(self, p), **v) for p, v in parts.items() if v})

    def resolved(self, gpus=1):
        """A copy in which every "by resolution" is a number, for `gpus` devices.

        Source: the automatic settings of Karras et al. 2020 (arXiv:2006.06676), appendix C.
        """
        height, width = self.G.resolution
        size = round((height * width) ** 0.5)
        batch = self.train.batch
        if batch is None:
            batch = max(min(gpus * min(max(4096 // size, 1), 32), 64), gpus)
        lr = 0.002 if size >= 1024 else 0.0025
        base = default_channel_base(self.G.resolution)
        t = self.train
        train = replace(
            t,
            batch=batch,
            batch_gpu=_or(t.batch_gpu, max(batch // gpus, 1)),
            g_lr=_or(t.g_lr, lr),
            d_lr=_or(t.d_lr, lr),
            r1_gamma=_or(t.r1_gamma, 0.0002 * height * width / batch),
            ema_kimg=_or(t.ema_kimg, batch * 10 / 32),
        )
        return replace(
            self,
            G=replace(self.G, channel_base=_or(self.G.channel_base, base)),
            D=replace(self.D, channel_base=_or(self.D.channel_base, base)),
            train=train,
        )


def as_size(resolution):
    """`resolution`, an int or (height, width) in px, as a tuple. Raises: UserError."""
    size = (resolution, resolution) if isinstance(resolution, int) else tuple(resolution)
    if len(size) != 2 or not all(isinstance(s, int) and s > 0 for s in size):
        raise UserError(f"resolution: expected an int or (height, width) in px, got {resolution!r}")
    return size


def default_channel_base(resolution):
    """channel_base where none is given: 32768 from 512 px on, else 16384."""
    return 32768 if (resolution[0] * resolution[1]) ** 0.5 >= 512 else 16384


def _owners(name):
    """(part, attribute) of every place where the setting `name` lives."""
    if name in ("g_architecture", "d_architecture"):
        return [(name[0].upper(), "architecture")]
    kinds = {
        "G": GeneratorConfig,
        "D": DiscriminatorConfig,
        "train": TrainConfig,
        "data": DataConfig,
    }
    hits = [(p, name) for p, k in kinds.items() if name in {f.name for f in dataclasses.fields(k)}]
    if name == "mapping_layers":  # the flag means the generator's; D's label mapping keeps its own
        return [("G", name)]
    if name in ("resolution", "channels"):
        return [hit for hit in hits if hit[0] != "data"]
    return hits


def _check_network(c):
    object.__setattr__(c, "resolution", as_size(c.resolution))
    object.__setattr__(c, "resample_filter", tuple(c.resample_filter))
    for name, value, allowed in (
        ("architecture", c.architecture, ARCHITECTURES),
        ("precision", c.precision, PRECISIONS),
        ("channels", c.channels, (1, 3, 4)),
    ):
        if value not in allowed:
            raise UserError(
                f"{name}: expected one of {', '.join(map(str, allowed))}, got {value!r}"
            )


def _or(value, otherwise):
    return otherwise if value is None else value


def _untuple(value):
    return tuple(value) if isinstance(value, list) else value
