# SPDX-License-Identifier: Apache-2.0
"""The weights of a network from a file of ours."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open


@torch.no_grad()
def fill(network: torch.nn.Module, path: str | Path) -> None:
    """Read the weights of a network, tensor by tensor.

    Raises: ValueError if names or shapes differ from those of the network.
    """
    state = network.state_dict()
    with safe_open(path, "pt") as f:
        names = set(f.keys())
        for what, which in (
            ("lacks", state.keys() - names),
            ("has, in excess,", names - state.keys()),
        ):
            if which:
                raise ValueError(f"the file {what} {min(which)}")
        for name, value in state.items():
            stored = f.get_tensor(name)
            if stored.shape != value.shape:
                shapes = f"{list(stored.shape)}, expected {list(value.shape)}"
                raise ValueError(f"{name} is {shapes}")
            value.copy_(stored)
