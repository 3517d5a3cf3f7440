# SPDX-License-Identifier: Apache-2.0
"""Reads state dicts with NVIDIA's names of tensors, which are also those of this package.

Settings follow from names and shapes, or are those of another network (`settings_like`).
"""

from __future__ import annotations

from stylegan.checkpoints.assemble import assemble, each_readable
from stylegan.checkpoints.find import Found
from stylegan.checkpoints.formats import Checkpoint, Tensors, tensors_by_name
from stylegan.checkpoints.pickle.arrays import Array
from stylegan.checkpoints.rosinality.missing import MeanW
from stylegan.checkpoints.state_dict.like import current_like
from stylegan.checkpoints.state_dict.settings import discriminator_config, generator_config
from stylegan.config import Config, DiscriminatorConfig, GeneratorConfig, Stylegan3Config

FORMAT = "state dict"
SIGNS = ("synthesis.b4.const", "synthesis.input.weight")  # one of them is in every generator
DISCRIMINATOR = "a discriminator"
# A tensor of every network that is only a part, and what that is.
PARTS = {
    "b4.out.weight": DISCRIMINATOR,
    "b4.const": "a synthesis network",
    "input.freqs": "a synthesis network",
    "w_avg": "a mapping network",
}
NOTE = (
    "the file holds no settings; what does not follow from shapes, such as conv_clamp, has its "
    "default; --like NETWORK takes the settings of another network"
)


def recognises(found: Found) -> bool:
    """Whether a file holds state dicts with these names."""
    return _has_generator(found) or _part(found) is not None


def read(found: Found) -> Checkpoint:
    """The networks of such a file.

    Raises: ValueError if none of its generators is tensors by name.
    """
    stored, failed = each_readable(
        found, lambda name: tensors_by_name(found.states.get(name), name)
    )
    result = Checkpoint(FORMAT, "unknown", stored)
    if not _has_generator(found):
        part = _part(found)
        result.reason = f"holds {part} alone; a generator has mapping and synthesis"
        result.family = f"{part} alone"
        if part == DISCRIMINATOR and len(stored) == 1:
            result.stored = {"D": next(iter(stored.values()))}
        return result
    for name, error in failed.items():
        result.leave_out(name, error)
    assemble(result, _Reader(stored))
    if result.config and not current_like():
        result.notes.append(NOTE)
    return result


def _has_generator(found: Found) -> bool:
    states = [found.states[name] for name in ("G_ema", "G") if name in found.states]
    return any(sign in state for state in states for sign in SIGNS)


def _part(found: Found) -> str | None:
    """What the network is that a file holds, if it is a part of a generator or a discriminator."""
    names = {name for state in found.states.values() for name in state}
    return next((part for sign, part in PARTS.items() if sign in names), None)


class _Reader:
    """Reads one network. Args: stored: the tensors of all networks."""

    def __init__(self, stored: dict[str, dict[str, Array]]) -> None:
        self.stored = stored

    def generator(self, name: str) -> GeneratorConfig | Stylegan3Config:
        like = current_like()
        return like.G if like else generator_config(self.stored[name])

    def discriminator(self, G: GeneratorConfig | Stylegan3Config) -> DiscriminatorConfig:
        like = current_like()
        return like.D if like else discriminator_config(self.stored["D"], G)

    def tensors(self, name: str, config: Config) -> Tensors:
        tensors: Tensors = {
            key: array
            for key, array in self.stored[name].items()
            if not key.endswith("resample_filter")  # it follows from the settings
        }
        G = config.G
        missing = name != "D" and "mapping.w_avg" not in tensors
        if missing and isinstance(G, GeneratorConfig) and not G.c_dim:
            tensors["mapping.w_avg"] = MeanW(tensors, G)
        return tensors
