# SPDX-License-Identifier: Apache-2.0
"""The device to run on."""

from __future__ import annotations

import torch

from stylegan.errors import UserError


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """`name` as a torch.device; "auto" is CUDA, else MPS, else the CPU.

    Raises: UserError if this machine has no such device.
    """
    if isinstance(name, torch.device):
        return name
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        if name.split(":")[0] not in ("cpu", "cuda", "mps", "xpu"):
            raise RuntimeError("expected cpu, cuda, cuda:1, mps or xpu")
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as e:
        reason = str(e).strip().splitlines()[0]
        raise UserError(
            f"device {name!r}", f"not available here ({reason}); auto uses what this machine has"
        ) from e
    return device


def describe(device: torch.device) -> str:
    """A device as text: its kind, its name and its memory or threads."""
    if device.type == "cuda":
        p = torch.cuda.get_device_properties(device)
        return f"{device} ({p.name}, {p.total_memory / 2**30:.0f} GiB)"
    if device.type == "cpu":
        return f"cpu ({torch.get_num_threads()} threads)"
    return str(device)
