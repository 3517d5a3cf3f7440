# SPDX-License-Identifier: Apache-2.0
"""The device to run on."""

from __future__ import annotations

import re
import warnings

import torch

from stylegan.errors import Note, UserError
from stylegan.words import one_line

KINDS = ("cpu", "cuda", "mps", "xpu")
MEANT = {
    **dict.fromkeys(("gpu", "nvidia", "gpu:0", "rocm", "hip", "amd"), "cuda"),
    **dict.fromkeys(("mac", "metal", "apple"), "mps"),
    **dict.fromkeys(("intel",), "xpu"),
    **dict.fromkeys(("none", "no", "-1", "host"), "cpu"),
    **{kind: kind for kind in KINDS},  # in capitals
}


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """`name` as a torch.device; "auto" is CUDA, else MPS, else the CPU.

    Warns: Note if "auto" leaves out a GPU whose driver does not work.
    Raises: UserError if this machine has no such device.
    """
    if isinstance(name, torch.device):
        return name
    if name == "auto":
        if _cuda_works():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    match = re.fullmatch(r"([a-z]+)(:\d+)?", name)
    if not match or match[1] not in KINDS:
        near = f"; did you mean {MEANT[name.lower()]}?" if name.lower() in MEANT else ""
        if name.isdecimal():
            near = f"; did you mean cuda:{name}?"
        raise UserError(f"device {name!r}", f"expected auto, cpu, cuda, cuda:1, mps or xpu{near}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error says the same
            device = torch.device(name)
            torch.empty(1, device=device)
    except Exception as e:  # a broken driver may raise anything
        raise UserError(
            f"device {name!r}",
            f"not available here ({_reason(match[1], e)}); auto uses what this machine has",
        ) from e
    return device


def _cuda_works() -> bool:
    """Whether there is a GPU for CUDA. A driver that does not work is a note in one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            works = torch.cuda.is_available()
        except Exception as e:
            works, reason = False, _first_sentence(e)
        else:
            reason = _first_sentence(caught[0].message) if caught else ""
    no_gpu = "no NVIDIA driver" in reason  # PyTorch with CUDA on a machine without a GPU
    if not works and reason and not no_gpu:
        warnings.warn(f"the GPU is not used: {reason}", Note, stacklevel=3)
    return works


def _reason(kind: str, error: Exception) -> str:
    """Why a device is not available, in a few words."""
    if kind == "mps":
        return "MPS is the GPU of a Mac"
    if kind == "xpu":
        return "XPU is a GPU of Intel, and needs a PyTorch built for it"
    if kind == "cpu":
        return "the CPU has no number"
    if torch.version.cuda is None and torch.version.hip is None:
        return "this PyTorch is built without CUDA, pytorch.org has one with it"
    try:
        count = torch.cuda.device_count()
    except Exception:
        count = 0
    if count and "invalid device ordinal" in str(error):
        names = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        return f"this machine has {names}"
    return _first_sentence(error)


def _first_sentence(error: object) -> str:
    """The first sentence of PyTorch's message, without its start that says nothing."""
    number = re.search(r"Error \d+: [^(]+", str(error))  # the cause, after a guess at it
    text = number[0] if number else one_line(error)
    text = text.removeprefix("CUDA initialization: ").removeprefix("CUDA error: ")
    text = re.split(
        r"(?<=[a-z)])\.? (?:Please|Compile with|CUDA kernel errors|If you|For |Did )", text
    )[0]
    text = re.split(r"(?<=[a-z)])\. (?=[A-Z])| \(Triggered", text)[0]
    return one_line(text, 200).rstrip(".") or type(error).__name__


def describe(device: torch.device) -> str:
    """A device as text: its kind, its name and its memory or threads."""
    if device.type == "cuda":
        p = torch.cuda.get_device_properties(device)
        return f"{device} ({p.name}, {p.total_memory / 2**30:.0f} GiB)"
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"cpu ({threads} thread{'s' * (threads != 1)})"
    return str(device)
