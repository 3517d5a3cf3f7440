# SPDX-License-Identifier: Apache-2.0
"""All settings of a run."""

import dataclasses
from dataclasses import dataclass, field, replace

from stylegan.config.data import DataConfig
from stylegan.config.network import (
    MODELS,
    DiscriminatorConfig,
    GeneratorConfig,
    Stylegan3Config,
    default_channel_base,
    model_config,
)
from stylegan.config.train import TrainConfig
from stylegan.errors import UserError


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
