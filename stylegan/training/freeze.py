# SPDX-License-Identifier: Apache-2.0
"""Which parts of the networks keep the weights of the network that a run starts with.

Source: Mo et al. 2020 (arXiv:2002.10964), which freezes the layers of D nearest the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from stylegan.config import Config
from stylegan.errors import UserError
from stylegan.models.sizes import blocks_of

NAMES = {"mapping": "mapping network", "synthesis": "synthesis network"}


@dataclass(frozen=True)
class Frozen:
    """The parts that do not train: "mapping" or "synthesis" of G, blocks such as "b32" of D."""

    G: tuple[str, ...] = ()
    D: tuple[str, ...] = ()

    def trained(self, network: torch.nn.Module, name: str) -> list[torch.nn.Parameter]:
        """The parameters of a network that train. Args: name: "G" or "D"."""
        frozen = getattr(self, name)
        return [p for key, p in network.named_parameters() if key.split(".")[0] not in frozen]


def frozen_parts(config: Config) -> Frozen:
    """The parts that the settings freeze, of D those that it has."""
    t = config.train
    parts = ("synthesis",) * t.freeze_g + ("mapping",) * t.freeze_mapping
    return Frozen(parts, tuple(_blocks(config)[: t.freeze_d]))


def check_frozen(config: Config) -> None:
    """Raises: UserError if the settings freeze what cannot be frozen."""
    t = config.train
    flags = {"freeze_d": t.freeze_d, "freeze_g": t.freeze_g, "freeze_mapping": t.freeze_mapping}
    given = [name for name, value in flags.items() if value]
    if given and not t.init_from:
        raise UserError(
            given[0], "only a trained network can be frozen; name one with --init-from, or leave "
            "the option out"
        )  # fmt: skip
    if t.freeze_g and t.freeze_mapping:
        raise UserError("freeze_g", "with --freeze-mapping nothing of G trains; leave one out")
    blocks = _blocks(config)
    if t.freeze_d > len(blocks):
        sizes = ", ".join(name[1:] for name in blocks)
        raise UserError(
            "freeze_d",
            f"expected 0 to {len(blocks)}, got {t.freeze_d}; at this resolution the blocks of D "
            f"that can be frozen are {sizes}",
        )


def frozen_text(frozen: Frozen, G: torch.nn.Module, D: torch.nn.Module) -> str | None:
    """What is frozen and how many parameters train, for the header of a run; None if all do."""
    if frozen == Frozen():
        return None
    parts = [f"{NAMES[part]} of G" for part in frozen.G]
    if frozen.D:
        first, last = frozen.D[0], frozen.D[-1]
        parts.append(f"D {first}" if first == last else f"D {first} to {last}")
    counts = []
    for name, network in (("G", G), ("D", D)):
        trained = _millions(frozen.trained(network, name))
        counts.append(f"{trained} of {_millions(network.parameters())} M parameters of {name}")
    return f"{', '.join(parts)}; {' and '.join(counts)} train"


def _blocks(config: Config) -> list[str]:
    """The blocks of D that can be frozen, from the image on: all but the last."""
    return [f"b{nominal}" for nominal in list(blocks_of(config.D))[:0:-1]]


def _millions(parameters: Any) -> str:
    return f"{sum(p.numel() for p in parameters) / 1e6:.2f}"
