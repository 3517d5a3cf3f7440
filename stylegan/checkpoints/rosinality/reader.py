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

from stylegan.checkpoints.formats import (
    HAS_EXTRA,
    Checkpoint,
    Tensors,
    fresh_discriminator,
)
from stylegan.checkpoints.metadata import data_set, own_meta, plain
from stylegan.checkpoints.pickle.arrays import Array, Derived, TensorSource
from stylegan.checkpoints.pickle.nodes import Node, is_name
from stylegan.checkpoints.rosinality.missing import MeanW, Noise
from stylegan.checkpoints.rosinality.names import OURS, PARTS, Shape, TensorName, names_of
from stylegan.checkpoints.rosinality.settings import discriminator_config, generator_config
from stylegan.config import Config

FORMAT = "rosinality .pt"
MAX_NOISES = 19  # noise inputs, up to 4096 px


def recognises(root: Any) -> bool:
    """Whether `root` is the value of such a file."""
    return type(root) is dict and any(
        type(state) is dict and "input.input" in state for state in _generators(root).values()
    )


def read(root: dict[str, Any]) -> Checkpoint:
    """The networks in the value of such a file.

    Raises: ValueError for a network that is not tensors by name.
    """
    states = _generators(root)
    if type(root.get("d")) is dict:
        states["D"] = _unwrapped(root["d"])
    stored = {name: _checked(state, name) for name, state in states.items()}
    result = Checkpoint(FORMAT, "StyleGAN2, skip", stored, meta=_meta(root))
    try:
        _build(result, root)
    except ValueError as e:
        result.fail(e)
    return result


def _build(result: Checkpoint, root: dict[str, Any]) -> None:
    """Set config and tensors. Raises: ValueError if our networks differ."""
    stored = result.stored
    kept = root.get(OURS)
    kept = kept if type(kept) is dict else {}
    G = generator_config(stored["G_ema" if "G_ema" in stored else "G"], kept)
    D = fresh_discriminator(G)
    if "D" in stored:
        D = discriminator_config(stored["D"], G, kept)
    result.config = Config(G=G, D=D)
    averages = {"G_ema": root.get("latent_avg"), "G": kept.get("latent_avg")}
    result.tensors = {}
    for name, tensors in stored.items():
        found = tensors if name == "D" else _with_noise(tensors)
        ours = _ours(found, names_of(name, result.config), name)
        if not G.use_noise:  # written by this package, with noise inputs that add nothing
            ours = {k: v for k, v in ours.items() if ".noise_" not in k}
        if name != "D":
            ours["mapping.w_avg"] = _average(averages[name]) or MeanW(ours, G)
        result.tensors[name] = ours
    result.check()


def _generators(root: dict[Any, Any]) -> dict[str, Any]:
    """{"G_ema", "G": state}, wherever the file keeps them."""
    if type(root.get("state_dict")) is dict:  # pSp and e4e, which also have an encoder
        prefix = "decoder."
        decoder = {
            key.removeprefix(prefix): value
            for key, value in root["state_dict"].items()
            if type(key) is str and key.startswith(prefix)
        }
        return {"G_ema": decoder}
    if "input.input" in root:
        return {"G_ema": root}
    found = {name: root.get(PARTS[name]) for name in ("G_ema", "G")}
    return {name: _unwrapped(state) for name, state in found.items() if state is not None}


def _unwrapped(state: Any) -> Any:
    """Without the prefix of DataParallel, if every name has it."""
    prefix = "module."
    if type(state) is not dict or not all(
        type(key) is str and key.startswith(prefix) for key in state
    ):
        return state
    return {key.removeprefix(prefix): value for key, value in state.items()}


def _average(array: object) -> TensorSource | None:
    """[w_dim] from latent_avg, which pSp keeps once for every layer; None if it is missing."""
    if not isinstance(array, Array):
        return None
    if len(array.shape) == 2 and array.shape[0]:
        return Derived(array, array.shape[1:], lambda rows: rows[0])
    return array


def _checked(state: Any, name: str) -> dict[str, Array]:
    """`state`, which must be tensors by name."""
    if type(state) is not dict or not all(map(is_name, state)):
        raise ValueError(f"{name} is not a dictionary of named tensors")
    for key, value in state.items():
        if not isinstance(value, Array):
            raise ValueError(f"{name}.{key} is not a tensor")
    return state


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


def _meta(root: dict[str, Any]) -> dict[str, Any]:
    kept = root.get(OURS)
    meta = own_meta(kept.get("meta") if type(kept) is dict else None)
    meta |= own_meta({"augment_p": root.get("ada_aug_p")})
    if type(root.get("args")) is Node:
        arguments = plain(root["args"].state)
        about = {name: arguments.pop(name) for name in ("path", "size") if name in arguments}
        if about:
            meta["dataset"] = data_set(about)
        meta["arguments"] = arguments
    return meta
