# SPDX-License-Identifier: Apache-2.0
"""Where networks are moved to: a device, a dtype or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from stylegan.device import resolve_device
from stylegan.errors import UserError
from stylegan.words import one_line, shown

WEIGHTS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)  # dtypes of weights

Device = str | int | torch.device


@dataclass(frozen=True)
class Placement:
    """What a call of `to` asks for; None leaves it unchanged."""

    device: torch.device | None
    dtype: torch.dtype | None

    @classmethod
    def of(cls, device: Device | torch.dtype | None, dtype: torch.dtype | None) -> Placement:
        """The arguments of `to`; a dtype may come first. Raises: UserError."""
        if isinstance(device, torch.dtype) and dtype is None:
            device, dtype = None, device
        if device is None and dtype is None:
            raise UserError("to", "expected a device, a dtype or both, got neither")
        if dtype is not None and dtype not in WEIGHTS:
            names = ", ".join(str(known) for known in WEIGHTS)
            raise UserError("dtype", f"expected one of {names}, got {shown(dtype)}")
        if device is None:
            return cls(None, dtype)
        if isinstance(device, str) and isinstance(getattr(torch, device, None), torch.dtype):
            raise UserError("to", f"expected torch.{device}, not in quotes, as a dtype")
        if isinstance(device, bool) or not isinstance(device, (str, int, torch.device)):
            got = type(device).__name__
            raise UserError("device", f"expected a name such as cuda or cpu, got {got}")
        name = f"cuda:{device}" if isinstance(device, int) else str(device)
        return cls(resolve_device(name), dtype)

    def move(self, network: torch.nn.Module) -> None:
        """Move a network, as `torch.nn.Module.to` does.

        Raises: UserError if the device does not have the dtype.
        """
        try:
            network.to(self.device, self.dtype)
        except TypeError as e:  # float64 on MPS
            raise UserError("to", one_line(e, 200)) from e


def device_of(network: Any, default: torch.device) -> torch.device:
    """The device of a network's weights; `default` without any."""
    weight = _weight(network)
    return default if weight is None else weight.device


def dtype_of(network: Any, default: torch.dtype) -> torch.dtype:
    """The dtype of a network's weights; `default` without any."""
    weight = _weight(network)
    return default if weight is None else weight.dtype


def _weight(network: Any) -> torch.Tensor | None:
    weights = network.parameters() if isinstance(network, torch.nn.Module) else iter(())
    return next(weights, None)
