# SPDX-License-Identifier: Apache-2.0
"""The mapping network of another network, kept as a whole although labels differ, or not at all.

Weights are those of `EqualLinear`: y = x W^T m/sqrt(in) + b m. If `in` changes, W is scaled by
sqrt(in'/in) so that y does not.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass

import torch

from stylegan.models.layers import normalize_2nd_moment
from stylegan.training.transfer.units import NEW_LABELS, Part, State, copy_unit

EMBED = ("mapping.embed.weight", "mapping.embed.bias")
FIRST = ("mapping.fc0.weight", "mapping.fc0.bias")


@dataclass(frozen=True)
class Classes:
    """The labels of a network."""

    c_dim: int  # 0 without labels
    names: tuple[str, ...] = ()  # of the classes, or of the numbers of a vector; empty: unknown
    are_vectors: bool = False  # several may hold at once, instead of one class
    vectors: torch.Tensor | None = None  # [K, c_dim], of training images, if labels are vectors

    @property
    def known(self) -> tuple[str, ...]:
        """Names that are more than numbers."""
        plain = tuple(str(i) for i in range(self.c_dim))
        return () if self.names == plain else tuple(map(_normal, self.names))


def matches(here: Classes, there: Classes) -> list[int | None] | None:
    """For every label here the number of the same label there, or None if it is new.

    Labels are the same if their names are. If one side has no names, they go by number if there are
    as many.

    Returns: None if no label goes over.
    """
    if here.known and there.known:
        numbers = {name: i for i, name in reversed(list(enumerate(there.known)))}
        found = [numbers.get(name) for name in here.known]
        return found if any(i is not None for i in found) else None
    return list(range(here.c_dim)) if here.c_dim == there.c_dim else None


def copy_mapping(target: State, source: State, z_dim: int, here: Classes, there: Classes) -> Part:
    """Copy a mapping network, which is kept as a whole or started anew.

    Args:
        target, source: its tensors, by their names in the network.
        z_dim: width of z; 0 in a discriminator, whose mapping takes the label alone.
        here, there: the labels of both networks.
    Returns: what was copied.
    """
    if reason := _misfit(target, source, z_dim):
        return Part(0, len(target), [reason])
    if not here.c_dim and not there.c_dim:
        return copy_unit(target, source)
    pairs = matches(here, there) if here.c_dim and there.c_dim else None
    if pairs is None and not z_dim:
        return Part(0, len(target), [_no_match(here, there)])
    fitted = dict(source)
    notes = []
    if pairs is not None:
        fitted |= _embedding(source, pairs, here, there)
        note = _on_pairs(pairs, here, there)
        notes += [note] if note else []
    else:
        if there.c_dim:
            fitted = _averaged(fitted, z_dim, there)
            notes.append("the mean of its labels")
        if here.c_dim:
            fitted = _with_new_labels(fitted, target, z_dim)
            notes.append(NEW_LABELS)
    part = copy_unit(target, fitted)
    part.notes = notes if part.whole else []
    return part


def _no_match(here: Classes, there: Classes) -> str:
    if here.known and there.known:
        return f"no {'label' if here.are_vectors else 'class'} of the same name"
    return f"labels of {there.c_dim} numbers there, {here.c_dim} here"


def _misfit(target: State, source: State, z_dim: int) -> str | None:
    """Why the fully connected layers do not fit; None if they do."""
    if not source:
        return "no mapping network there"
    layers = [sum(".fc" in key for key in state) // 2 for state in (source, target)]
    if layers[0] != layers[1]:
        return f"{layers[0]} layers there, {layers[1]} here"
    if not layers[0]:
        return None
    widths = [len(state[FIRST[0]]) for state in (source, target)]
    if widths[0] != widths[1]:
        return f"w_dim is {widths[0]} there, {widths[1]} here"
    embeds = [EMBED[0] in state for state in (source, target)]
    z = source[FIRST[0]].shape[1] - (widths[0] if embeds[0] else 0)
    return None if z == z_dim else f"z_dim is {z} there, {z_dim} here"


def _embedding(source: State, pairs: list[int | None], here: Classes, there: Classes) -> State:
    """The embedding of the labels here. New classes have the mean of all there. New numbers of a
    vector have no effect yet, and those that are left out stay at their mean."""
    weight, bias = source[EMBED[0]], source[EMBED[1]]
    new = weight.mean(dim=1)
    if here.are_vectors or there.are_vectors:
        new = torch.zeros_like(new)
        left_out = [i for i in range(there.c_dim) if i not in pairs]
        if there.vectors is not None and left_out:
            mean = there.vectors.float().mean(dim=0)[left_out]
            bias = bias + weight[:, left_out].float() @ mean / math.sqrt(there.c_dim)
    columns = [new if i is None else weight[:, i] for i in pairs]
    scaled = torch.stack(columns, dim=1) * math.sqrt(here.c_dim / there.c_dim)
    return {EMBED[0]: scaled, EMBED[1]: bias}


def _on_pairs(pairs: list[int | None], here: Classes, there: Classes) -> str:
    """What to say of labels that were matched."""
    what = "labels" if here.are_vectors else "classes"
    if not (here.known and there.known):
        unknown = bool(here.known or there.known)
        return f"{what} by number: one side has no names" if unknown else ""
    new = pairs.count(None)
    if not new and here.known == there.known:
        return ""
    kept = f"{len(pairs) - new} of {len(pairs)} {what} by name"
    fresh = "have no effect at first" if here.are_vectors else "start as the mean"
    return f"{kept}, others {fresh}" if new else kept


def _averaged(source: State, z_dim: int, labels: Classes) -> State:
    """A mapping network without labels that gives what `source` gives for the mean of its embedded
    labels: those of all classes, or label vectors of its training images."""
    state = {k: v for k, v in source.items() if k not in EMBED}
    if FIRST[0] not in source:
        return state
    weight, bias = source[FIRST[0]], source[FIRST[1]]
    columns = source[EMBED[0]].float().mT / math.sqrt(labels.c_dim)  # of one-hot labels
    rows = columns if labels.vectors is None else labels.vectors.float() @ columns
    rows = rows + source[EMBED[1]].float()
    mean = normalize_2nd_moment(rows).mean(dim=0)
    width = weight.shape[1]
    state[FIRST[0]] = weight[:, :z_dim] * math.sqrt(z_dim / width)
    state[FIRST[1]] = bias + weight[:, z_dim:].float() @ mean / math.sqrt(width)
    return state


def _with_new_labels(source: State, target: State, z_dim: int) -> State:
    """`source`, which has no labels, with the fresh embedding of `target`, which has no effect
    yet."""
    state = {**source, **{key: target[key].clone() for key in EMBED}}
    if FIRST[0] in source:
        weight = torch.zeros_like(target[FIRST[0]])
        weight[:, :z_dim] = source[FIRST[0]] * math.sqrt(weight.shape[1] / z_dim)
        state[FIRST[0]] = weight
    return state


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)
