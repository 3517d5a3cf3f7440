# SPDX-License-Identifier: Apache-2.0
"""Reads the .pt of rosinality's stylegan2-pytorch and of what builds on it (pSp, e4e).

A training checkpoint contains g, d, g_ema, optimizers and arguments; a converted one g_ema and
latent_avg.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from stylegan.checkpoints.assemble import assemble, each_readable
from stylegan.checkpoints.find import Found
from stylegan.checkpoints.formats import HAS_EXTRA, Checkpoint, Tensors, tensors_by_name
from stylegan.checkpoints.metadata import data_set, own_meta, plain
from stylegan.checkpoints.pickle.arrays import Array, Derived, TensorSource
from stylegan.checkpoints.pickle.nodes import Node
from stylegan.checkpoints.rosinality.missing import MeanW, Noise
from stylegan.checkpoints.rosinality.names import OURS, Shape, TensorName, names_of
from stylegan.checkpoints.rosinality.settings import discriminator_config, generator_config
from stylegan.config import Config, DiscriminatorConfig, GeneratorConfig, Stylegan3Config

FORMAT = "rosinality .pt"
CONSTANT, AVERAGE = "input.input", "latent_avg"
MAX_NOISES = 19  # noise inputs, up to 4096 px


def recognises(found: Found) -> bool:
    """Whether a file holds state dicts with the names of this program."""
    return any(CONSTANT in state for state in found.states.values())


def read(found: Found) -> Checkpoint:
    """The networks of such a file.

    Raises: ValueError if none of its generators is tensors by name.
    """
    stored, failed = each_readable(
        found, lambda name: tensors_by_name(found.states.get(name), name)
    )
    result = Checkpoint(FORMAT, "StyleGAN2, skip", stored, meta=_meta(found.others))
    for name, error in failed.items():
        result.leave_out(name, error)
    assemble(result, _Reader(stored, found.others))
    return result


class _Reader:
    """Reads one network.

    Args: stored: the tensors of all networks; others: what else the file holds.
    """

    def __init__(self, stored: dict[str, dict[str, Array]], others: dict[str, Any]) -> None:
        kept = others.get(OURS)
        self.kept: dict[str, Any] = kept if type(kept) is dict else {}
        self.stored, averages = {}, {"G_ema": others.get(AVERAGE), "G": self.kept.get(AVERAGE)}
        if "G_ema" not in stored:
            averages["G"] = averages["G"] or others.get(AVERAGE)
        for name, tensors in stored.items():  # some programs keep the average among the tensors
            self.stored[name] = {k: v for k, v in tensors.items() if k != AVERAGE}
            averages[name] = averages.get(name) or tensors.get(AVERAGE)
        self.averages = averages

    def generator(self, name: str) -> GeneratorConfig:
        return generator_config(self.stored[name], self.kept)

    def discriminator(self, G: GeneratorConfig | Stylegan3Config) -> DiscriminatorConfig:
        return discriminator_config(self.stored["D"], G, self.kept)

    def tensors(self, name: str, config: Config) -> Tensors:
        tensors = self.stored[name]
        if name == "D":
            return _ours(tensors, names_of(name, config), name)
        G = config.G
        assert isinstance(G, GeneratorConfig)
        ours = _ours(_with_noise(tensors), names_of(name, config), name)
        if not G.use_noise:  # written by this package, with noise inputs that add nothing
            ours = {k: v for k, v in ours.items() if ".noise_" not in k}
        ours["mapping.w_avg"] = _average(self.averages[name]) or MeanW(ours, G)
        return ours


def _average(array: object) -> TensorSource | None:
    """[w_dim] from latent_avg, which pSp keeps once for every layer; None if it is missing."""
    if not isinstance(array, Array):
        return None
    if len(array.shape) == 2 and array.shape[0]:
        return Derived(array, array.shape[1:], lambda rows: rows[0])
    return array


def _ours(
    tensors: Mapping[str, TensorSource], names: Iterable[TensorName], network: str
) -> Tensors:
    """Tensors under our names. Raises: ValueError if not all of theirs are used."""
    result: Tensors = {}
    used = set()
    for name in names:
        array = tensors.get(name.theirs)
        if array is None:
            raise ValueError(f"{network} lacks {name.theirs}")
        target = name.our_shape(array.shape)
        if name.their_shape(target) != array.shape:
            raise ValueError(
                f"{network}.{name.theirs} has the unexpected shape {str(list(array.shape))[:60]}"
            )
        used.add(name.theirs)
        result[name.ours] = _reshaped(array, target)
    extra = [key for key in tensors if key not in used and not key.endswith(".kernel")]
    if extra:
        raise ValueError(f"{network} {HAS_EXTRA} {extra[0]}")
    return result


def _reshaped(array: TensorSource, shape: Shape) -> Derived:
    def reshape(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.reshape(shape)

    return Derived(array, shape, reshape)


def _with_noise(tensors: Mapping[str, TensorSource]) -> Mapping[str, TensorSource]:
    """With noise inputs, which files of the program's first versions lack."""
    if any(key.startswith("noises.") for key in tensors):
        return tensors
    layers = sum(bool(re.fullmatch(r"(convs\.\d+|conv1)\.noise\.weight", key)) for key in tensors)
    noises = {f"noises.noise_{i}": Noise(i) for i in range(min(layers, MAX_NOISES))}
    return {**tensors, **noises}


def _meta(others: dict[str, Any]) -> dict[str, Any]:
    kept = others.get(OURS)
    meta = own_meta(kept.get("meta") if type(kept) is dict else None)
    meta |= own_meta({"augment_p": others.get("ada_aug_p")})
    if type(others.get("args")) is Node:
        arguments = plain(others["args"].state)
        about = {name: arguments.pop(name) for name in ("path", "size") if name in arguments}
        if about:
            meta["dataset"] = data_set(about)
        meta["arguments"] = arguments
    return meta
