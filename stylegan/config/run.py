# SPDX-License-Identifier: Apache-2.0
"""All settings of a run."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field, replace
from typing import Any

from stylegan.config.data import DataConfig
from stylegan.config.network import (
    MODELS,
    DiscriminatorConfig,
    GeneratorConfig,
    Stylegan3Config,
    model_config,
)
from stylegan.config.options import Known, automatic_values, short_repr
from stylegan.config.train import TrainConfig, auto_batch
from stylegan.errors import UserError

KINDS: dict[str, tuple[type, ...]] = {  # of each part of a Config
    "G": tuple(MODELS.values()),
    "D": (DiscriminatorConfig,),
    "train": (TrainConfig,),
    "data": (DataConfig,),
}


@dataclass(frozen=True, repr=False)
class Config:
    """A whole run; saved in every snapshot."""

    G: GeneratorConfig | Stylegan3Config = field(default_factory=GeneratorConfig)
    D: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    __repr__ = short_repr

    def to_dict(self) -> dict[str, Any]:
        """As plain dictionaries and lists, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Config:
        """The inverse of `to_dict`.

        Raises: UserError for a field that this version does not know.
        """
        parts = {}
        for part, kinds in KINDS.items():
            given = values.get(part, {})
            kind = model_config(given.get("model", "stylegan2")) if part == "G" else kinds[0]
            unknown = set(given) - _names(kind)
            if unknown:
                raise UserError("config", f"unknown setting {part}.{sorted(unknown)[0]}")
            parts[part] = kind(**{k: _as_tuple(v) for k, v in given.items()})
        return cls(**parts)

    def with_fields(self, **fields: Any) -> Config:
        """A copy with `fields` set in every part that has them (resolution in G and in D).

        Names with `g_` or `d_` before them mean one network alone. `resolution` and `channels` set
        the networks, while the data keeps its own. Raises: UserError for a field that does not
        exist, or not in this model.
        """
        parts: dict[str, dict[str, Any]] = {part: {} for part in KINDS}
        for name, value in fields.items():
            if not owners(name):
                names = {n for kinds in KINDS.values() for kind in kinds for n in _names(kind)}
                near = difflib.get_close_matches(name, sorted(names), 1)
                meant = f"; did you mean {near[0]}?" if near else ""
                raise UserError("config", f"there is no setting {name!r}{meant}")
            hits = [(p, attribute) for p, attribute in owners(name) if self._has(p, attribute)]
            if not hits:
                raise UserError(name, f"{self.G.model} has no such setting; leave it out")
            for part, attribute in hits:
                parts[part][attribute] = value
        return replace(self, **{p: replace(getattr(self, p), **v) for p, v in parts.items() if v})

    def _has(self, part: str, attribute: str) -> bool:
        return hasattr(getattr(self, part), attribute)

    def resolved(self, gpus: int = 1, images: int | None = None) -> Config:
        """A copy in which every automatic setting has its value.

        Args:
            gpus: devices that train.
            images: in the data set; None: unknown, and taken for many.
        """
        t = self.train
        known = Known(
            model=self.G.model,
            height=self.G.resolution[0],
            width=self.G.resolution[1],
            gpus=gpus,
            batch=t.batch or 0,
            batch_gpu=t.batch_gpu,
            mbstd_group=self.D.mbstd_group,
            blur_sigma=0 if t.init_from else t.blur_sigma,  # a trained D would unlearn details
            init_from=bool(t.init_from),
            images=images,
        )
        if t.batch is None:
            known = replace(known, batch=auto_batch(known))
        # Path lengths are a property of the synthesis network.
        pl_weight = 0 if t.freeze_g else t.pl_weight
        train = replace(
            t, blur_sigma=known.blur_sigma, pl_weight=pl_weight, **automatic_values(t, known)
        )
        return replace(
            self,
            G=replace(self.G, **automatic_values(self.G, known)),
            D=replace(self.D, **automatic_values(self.D, known)),
            train=train,
        )


def owners(name: str) -> list[tuple[str, str]]:
    """(part, attribute) of every field that the setting `name` means, in some model.

    A name means all fields of that name; `g_` or `d_` before it means that of G or of D alone.
    """
    if name in ("g_lr", "d_lr"):  # fields of their own
        return [("train", name)]
    if name[:2] in ("g_", "d_"):
        part = name[0].upper()
        return [(part, name[2:])] if any(name[2:] in _names(k) for k in KINDS[part]) else []
    hits = [(part, name) for part, kinds in KINDS.items() if any(name in _names(k) for k in kinds)]
    if name == "mapping_layers":  # without a prefix G's alone
        return [("G", name)]
    if name in ("resolution", "channels"):  # of the networks; the data keeps its own
        return [hit for hit in hits if hit[0] != "data"]
    return hits


def _names(kind: type) -> set[str]:
    return {f.name for f in dataclasses.fields(kind)}


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
