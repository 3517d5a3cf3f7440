# SPDX-License-Identifier: Apache-2.0
"""Layers of a network, which are copied as a whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

State = dict[str, torch.Tensor]

# The position of StyleGAN3's images is a setting and not trained.
NOT_TRAINED = ("transform",)
# A layer works without these: they are the noise inputs of StyleGAN2.
OPTIONAL = ("noise_strength", "noise_const")
# These follow from the settings. Weights trained with other filters do not fit.
FILTERS = ("up_filter", "down_filter")
NEW_LABELS = "labels start anew, without effect at first"  # a note on a mapping network


@dataclass
class Part:
    """A block of a network, and how many of its tensors were copied."""

    copied: int = 0
    all: int = 0
    misfits: list[str] = field(default_factory=list)  # why others were not
    notes: list[str] = field(default_factory=list)  # how some were changed on the way

    @property
    def whole(self) -> bool:
        """Whether nothing of it starts anew."""
        return self.copied == self.all

    def add(self, other: Part) -> None:
        """Count another part into this one."""
        self.copied, self.all = self.copied + other.copied, self.all + other.all
        self.misfits += other.misfits
        self.notes += other.notes

    def row(self, name: str) -> str:
        """A line of the table."""
        count = f"{self.copied} of {self.all}" if self.all else "-"
        reasons = self.misfits[:2]
        if len(self.misfits) > 2:
            reasons.append(f"{len(self.misfits) - 2} more")
        return f"  {name:28}{count:>12}  {'; '.join(self.notes + reasons)}".rstrip()


def trained(state: Mapping[str, torch.Tensor]) -> State:
    """The tensors of a network that training or its settings decide."""
    return {k: v for k, v in state.items() if k.split(".")[-1] not in NOT_TRAINED}


def block_of(key: str) -> str:
    """The block that a tensor belongs to: mapping, synthesis.b64, b64."""
    return ".".join(key.split(".")[: 2 if key.startswith("synthesis.") else 1])


def unit_of(key: str) -> str:
    """The layer that a tensor belongs to: mapping, synthesis.b64.conv0, synthesis.L0_36_512,
    b64.skip."""
    parts = key.split(".")
    if parts[0] == "mapping":
        return "mapping"
    depth = 3 if re.match(r"synthesis\.b\d+\.", key) else 2
    return ".".join(parts[:depth])


def units(state: State) -> dict[str, State]:
    """{layer: its tensors}."""
    found: dict[str, State] = {}
    for key, value in state.items():
        found.setdefault(unit_of(key), {})[key] = value
    return found


def rest(key: str) -> str:
    """The name of a tensor inside its block."""
    return key.removeprefix(block_of(key) + ".")


def copy_unit(target: State, source: State) -> Part:
    """Copy a layer if all of it fits. Returns: what was copied."""
    part = Part(all=len(target))
    for key, value in target.items():
        optional = key.split(".")[-1] in OPTIONAL
        if key not in source:
            if not optional:
                part.misfits.append(f"no {rest(key)} there")
        elif source[key].shape != value.shape:
            if not optional:
                there, here = list(source[key].shape), list(value.shape)
                part.misfits.append(f"{rest(key)} is {there} there, {here} here")
        elif key.split(".")[-1] in FILTERS and not same_filter(source[key], value):
            part.misfits.append(f"{rest(key)} has other taps there")
    if part.misfits:
        return part
    for key, value in target.items():
        if key in source and source[key].shape == value.shape:
            value.copy_(source[key])
        part.copied += 1  # a noise input that is not there has strength 0, which is no noise
    return part


def same_filter(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two filters are the same up to rounding."""
    return torch.allclose(a.float(), b.float(), rtol=1e-4, atol=1e-6)
