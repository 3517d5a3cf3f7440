# SPDX-License-Identifier: Apache-2.0
"""Networks inside of what PyTorch wraps around them: DataParallel, DistributedDataParallel, an
average of weights (`AveragedModel`), torch.compile."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import torch
import torch.nn as nn

WRAPPERS = ("module", "_orig_mod")  # attributes of wrappers, and what they put before names


def unwrapped(network: Any) -> Any:
    """The network inside any number of wrappers; `network` itself if there is none."""
    while isinstance(network, nn.Module):
        inner = next((n for n in WRAPPERS if isinstance(getattr(network, n, None), nn.Module)), "")
        if not inner:
            break
        network = getattr(network, inner)
    return network


def plain_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict without the prefixes `module.` and `_orig_mod.` of wrappers, in any order and
    depth; without the count of an `AveragedModel`."""
    plain = {}
    for name, value in state.items():
        parts = name.split(".")
        inner = [part for part in parts if part not in WRAPPERS]
        if name != "n_averaged":
            plain[".".join(inner)] = value
    return plain


def accept_wrapped_names(network: nn.Module) -> None:
    """Let `network.load_state_dict` take the state dict of a wrapped network too."""
    network.register_load_state_dict_pre_hook(_unwrap_names)


def _unwrap_names(
    module: nn.Module, state_dict: MutableMapping[str, Any], prefix: str, *_: Any
) -> None:
    own = {k: v for k, v in state_dict.items() if k.startswith(prefix)}
    if not prefix:
        own.pop("n_averaged", None)
    plain = plain_names({k[len(prefix) :]: v for k, v in own.items()})
    if len(plain) == len(own) and list(plain) != [k[len(prefix) :] for k in own]:
        for name in [k for k in state_dict if k.startswith(prefix)]:
            del state_dict[name]
        state_dict.update({prefix + k: v for k, v in plain.items()})
