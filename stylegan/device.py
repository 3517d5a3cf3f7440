# SPDX-License-Identifier: Apache-2.0
"""Which device to run on."""

import torch

from stylegan.errors import UserError


def resolve_device(name="auto"):
    """`name` as a torch.device; "auto" is CUDA, else MPS, else the CPU.

    Raises: UserError if there is no such device here.
    """
    if isinstance(name, torch.device):
        return name
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps", "xpu"):
            raise RuntimeError("expected cpu, cuda, mps or xpu")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as e:
        reason = str(e).strip().splitlines()[0]
        raise UserError(f"device {name!r}", f"not available here ({reason})") from e
    return device


def describe(device):
    """A device in words: its kind, its name and its memory or threads."""
    if device.type == "cuda":
        p = torch.cuda.get_device_properties(device)
        return f"{device} ({p.name}, {p.total_memory / 2**30:.0f} GiB)"
    if device.type == "cpu":
        return f"cpu ({torch.get_num_threads()} threads)"
    return str(device)
