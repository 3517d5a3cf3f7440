# SPDX-License-Identifier: Apache-2.0
"""Every setting, with its meaning. A command-line flag is a field here."""

import dataclasses
from dataclasses import dataclass, field, replace

from stylegan.config.network import (
    MODELS,
    DiscriminatorConfig,
    GeneratorConfig,
    Stylegan3Config,
    as_size,
    default_channel_base,
    model_config,
)
from stylegan.errors import UserError

LOSSES = ("nonsaturating", "saturating")


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
            raise UserError("channels", f"expected 1, 3 or 4, got {self.channels}")
        if self.max_images is not None and not self.max_images > 0:
            raise UserError("max_images", f"expected a number above 0, got {self.max_images}")


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
    r1_gamma: float | None = 10  # weight of R1; None: 0.0002 * height * width / batch, for
    # StyleGAN3 0.001 * height * width / 32
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
    blur_sigma: float = (
        0  # px; D sees images blurred by this to begin with, unless init_from; 0: off
    )
    blur_fade_kimg: float | None = None  # ... and fading to nothing over this; None: batch * 200/32
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
            raise UserError("loss", f"expected one of {', '.join(LOSSES)}, got {self.loss!r}")
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
            "blur_fade_kimg",
        ):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(name, f"expected a number above 0, got {value}")
        if self.batch and self.batch_gpu and self.batch % self.batch_gpu:
            raise UserError("batch_gpu", f"{self.batch_gpu} does not divide batch {self.batch}")
        if not self.blur_sigma >= 0:
            raise UserError("blur_sigma", f"expected 0 or a number above, got {self.blur_sigma}")


@dataclass(frozen=True)
class Config:
    """A whole run; saved in every snapshot."""

    G: GeneratorConfig | Stylegan3Config = field(default_factory=GeneratorConfig)
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
            given = values.get(part.name, {})
            kind = part.default_factory
            if part.name == "G":
                kind = model_config(given.get("model", "stylegan2"))
            unknown = set(given) - _names(kind)
            if unknown:
                raise UserError("config", f"unknown setting {part.name}.{sorted(unknown)[0]}")
            parts[part.name] = kind(**{k: _untuple(v) for k, v in given.items()})
        return cls(**parts)

    def with_fields(self, **fields):
        """A copy with `fields` set in every part that has them (resolution in G and in D).

        `g_architecture` and `d_architecture` mean the one network alone; `resolution` and
        `channels` set the networks, while the data keeps its own.
        """
        parts = {"G": {}, "D": {}, "train": {}, "data": {}}
        for name, value in fields.items():
            if not _owners(name):
                raise UserError("config", f"there is no setting {name!r}")
            hits = [(p, attribute) for p, attribute in _owners(name) if self._has(p, attribute)]
            if not hits:
                raise UserError(name, f"{self.G.model} has no such setting")
            for part, attribute in hits:
                parts[part][attribute] = value
        return replace(self, **{p: replace(getattr(self, p), **v) for p, v in parts.items() if v})

    def _has(self, part, attribute):
        return hasattr(getattr(self, part), attribute)

    def resolved(self, gpus=1):
        """A copy in which every "by resolution" is a number, for `gpus` devices.

        Source: the automatic settings of Karras et al. 2020 (arXiv:2006.06676), appendix C; for
        StyleGAN3 arXiv:2106.12423, appendix G.
        """
        height, width = self.G.resolution
        size = round((height * width) ** 0.5)
        batch = self.train.batch
        if batch is None:
            batch = max(min(gpus * min(max(4096 // size, 1), 32), 64), gpus)
        lr = 0.002 if size >= 1024 else 0.0025
        base = default_channel_base(self.G.resolution)
        t = self.train
        # StyleGAN3's published settings are all for batches of 32.
        gamma = 0.001 / 32 if self.G.model == "stylegan3" else 0.0002 / batch
        blur_sigma = 0 if t.init_from else t.blur_sigma  # a trained D would unlearn details
        train = replace(
            t,
            batch=batch,
            batch_gpu=_or(t.batch_gpu, max(batch // gpus, 1)),
            g_lr=_or(t.g_lr, lr),
            d_lr=_or(t.d_lr, lr),
            r1_gamma=_or(t.r1_gamma, gamma * height * width),
            ema_kimg=_or(t.ema_kimg, batch * 10 / 32),
            blur_sigma=blur_sigma,
            blur_fade_kimg=_or(t.blur_fade_kimg, batch * 200 / 32 if blur_sigma else None),
        )
        return replace(
            self,
            G=replace(self.G, channel_base=_or(self.G.channel_base, base)),
            D=replace(self.D, channel_base=_or(self.D.channel_base, base)),
            train=train,
        )


def _owners(name):
    """(part, attribute) of every place where the setting `name` lives, in some model."""
    if name in ("g_architecture", "d_architecture"):
        return [(name[0].upper(), "architecture")]
    kinds = {
        "G": tuple(MODELS.values()),
        "D": (DiscriminatorConfig,),
        "train": (TrainConfig,),
        "data": (DataConfig,),
    }
    hits = [(part, name) for part, ks in kinds.items() if any(name in _names(k) for k in ks)]
    if name == "mapping_layers":  # the flag means the generator's; D's label mapping keeps its own
        return [("G", name)]
    if name in ("resolution", "channels"):
        return [hit for hit in hits if hit[0] != "data"]
    return hits


def _names(kind):
    return {f.name for f in dataclasses.fields(kind)}


def _or(value, otherwise):
    return otherwise if value is None else value


def _untuple(value):
    return tuple(value) if isinstance(value, list) else value
