# SPDX-License-Identifier: Apache-2.0
"""Transfer learning: a new run starts with another network's weights, as far as they fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from stylegan.errors import UserError
from stylegan.networks import load_networks
from stylegan.training.step import TrainingStep

# These buffers follow from the settings of a network and not from its training: filters of
# StyleGAN3, which have the same names and shapes at other resolutions but other frequencies, and
# the position of its images.
NOT_TRAINED = ("up_filter", "down_filter", "transform")


@dataclass
class Part:
    """A block of a network, and how many of its tensors were copied."""

    copied: int = 0
    all: int = 0
    misfits: list[str] = field(default_factory=list)  # why others were not

    def row(self, name: str) -> str:
        """A line of the table."""
        count = f"{self.copied} of {self.all}" if self.all else "-"
        more = [f"{len(self.misfits) - 2} more"] if len(self.misfits) > 2 else []
        return f"  {name:28}{count:>12}  {'; '.join(self.misfits[:2] + more)}".rstrip()


def transfer(model: TrainingStep, path: str | Path) -> list[str]:
    """Copy the weights of a network into those of a new run, by name, where the shapes agree.

    Args:
        model: a step that has not trained yet.
        path: as for `load_networks`. If it has no G, G starts from G_ema too, and the reverse.
    Returns: lines of a table of what fits and what does not.
    Raises: UserError if nothing fits, or the file cannot be read.
    """
    nets = load_networks(path, "cpu")
    height, width = nets.config.G.resolution
    trained = f"{nets.meta['kimg']:g} kimg, " if "kimg" in nets.meta else ""
    lines = [
        f"weights of {nets.path} ({trained}{width}x{height} px, "
        f"{nets.config.G.channels} channels, {nets.config.G.c_dim or 'no'} classes):",
        f"  {'part':28}{'fits':>12}",
    ]
    copied = 0
    misfits: list[str] = []
    for name, source in (("G", nets.G or nets.G_ema), ("G_ema", nets.best_G), ("D", nets.D)):
        if source is None:
            unbuilt = nets.checkpoint is not None and name in nets.checkpoint.unbuilt
            why = "cannot be built here" if unbuilt else "not in the file"
            lines.append(f"  {name:28}{'none':>12}  {why}; starts from scratch")
            continue
        parts = copy_weights(getattr(model, name), source.state_dict())
        copied += sum(part.copied for part in parts.values())
        misfits += [reason for part in parts.values() for reason in part.misfits]
        lines += [part.row(f"{name} {block}") for block, part in parts.items()]
    if not copied:
        why = f": {misfits[0]}" if misfits else ""
        raise UserError(path, f"nothing of it fits the new network (--init-from){why}")
    return lines


def copy_weights(network: torch.nn.Module, source: dict[str, torch.Tensor]) -> dict[str, Part]:
    """Copy the tensors of `source` that fit into `network`. Returns: {block: `Part`}."""
    parts: dict[str, Part] = {}
    target = _trained(network.state_dict())
    source = _trained(source)
    for key, value in target.items():
        part = parts.setdefault(_block(key), Part())
        part.all += 1
        if key not in source:
            part.misfits.append(f"no {_rest(key)} there")
        elif source[key].shape != value.shape:
            there, here = list(source[key].shape), list(value.shape)
            part.misfits.append(f"{_rest(key)} is {there} there, {here} here")
        else:
            value.copy_(source[key])
            part.copied += 1
    for key in source:
        if key not in target:
            parts.setdefault(_block(key), Part()).misfits.append(f"no {_rest(key)} here")
    return parts


def _trained(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: v for k, v in state.items() if k.split(".")[-1] not in NOT_TRAINED}


def _block(key: str) -> str:
    """The block that a tensor belongs to: mapping, synthesis.b64, b64."""
    return ".".join(key.split(".")[: 2 if key.startswith("synthesis.") else 1])


def _rest(key: str) -> str:
    return key.removeprefix(_block(key) + ".")
