# SPDX-License-Identifier: Apache-2.0
"""Native kernel or reference: the one module that decides.

An op module calls `declare(op)` and `register(op, device, kernel)`. Every public op asks
`kernel(op, x)` and runs its PyTorch reference if the answer is None. The extension with the kernels
of a device is loaded, and if need be built, the first time that a kernel of it is asked for.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.forward_ad import unpack_dual

from stylegan_ops.runtime import plan
from stylegan_ops.runtime.extension import DEVICES, Extension

try:  # no public function tells; without this one, torch.func reports an error of its own
    from torch._C._functorch import is_functorch_wrapped_tensor as is_wrapped
except ImportError:

    def is_wrapped(tensor: torch.Tensor) -> bool:
        return False


MODES = ("auto", "native", "reference")


@dataclass(frozen=True, slots=True)
class Kernel:
    """What computes an op on one type of device."""

    run: Callable[..., Any]  # has the op's own signature
    in_extension: bool  # needs the extension of that device


_ops: dict[str, tuple[str, ...]] = {}  # op -> the ops that it is composed of; in order
_kernels: dict[tuple[str, str], Kernel] = {}  # by op and device type
_extensions: dict[str, Extension] = {}  # by device type
_lock = threading.Lock()
_mode: str | None = None  # None until first use, so that the environment variable is read then


def declare(op: str, parts: tuple[str, ...] = ()) -> str:
    """Make `op` known to `info`; every op module calls it once.

    Args:
        parts: the ops with kernels that `op` is composed of, if it has no kernel of its own. The
            first that a device has a kernel for decides whether `op` is native there.
    Returns: op.
    """
    _ops[op] = parts
    return op


def register(
    op: str, device_type: str, kernel: Callable[..., Any], in_extension: bool = False
) -> None:
    """Install `kernel` for `op` on tensors of `device_type` ("cpu", "cuda").

    Args:
        in_extension: the kernel needs the extension of that device (`load`).
    """
    if op not in _ops:
        raise ValueError(f"register: no op is called {op!r}; the ops are {', '.join(_ops)}")
    _kernels[op, device_type] = Kernel(kernel, in_extension)


def load(device_type: str, again: bool = False) -> str | None:
    """Load the extension of a device ("cpu", "cuda"), building it first if need be. Ops do it at
    first use; call it to choose the moment, for example before several processes start.

    Args:
        again: try again what has failed before.
    Returns: None, or one line that says why there is no extension.
    """
    with _lock:
        known = _extensions.get(device_type)
        if known is None or (again and known.module is None):
            known = _load(device_type, again)
            _extensions[device_type] = known
    return known.reason or None


def _load(device_type: str, again: bool) -> Extension:
    if device_type not in DEVICES:
        return Extension(None, f"there are no kernels for {device_type}")
    from stylegan_ops.build import build, cache

    if again:
        cache.forget_failures()
    loaded = build.load(device_type)
    if loaded.module is None:
        text = f"no {device_type} kernels, the slower reference runs instead: {loaded.reason}"
        warnings.warn_explicit(text, RuntimeWarning, "stylegan_ops", 0)
    return loaded


def _loaded(device_type: str) -> bool:
    known = _extensions.get(device_type)
    return known.module is not None if known else load(device_type) is None


# What torch.compiler.assume_constant_result does. Calling it would import the compiler, which takes
# a second. A graph being traced calls the function and keeps its result.
_loaded._dynamo_marked_constant = True  # type: ignore[attr-defined]


def mode() -> str:
    """The backend in force: "auto", "native" or "reference".

    Raises: ValueError if the environment variable STYLEGAN_OPS has any other value.
    """
    global _mode
    if _mode is None:
        _mode = _checked(
            os.environ.get("STYLEGAN_OPS", "auto"), "environment variable STYLEGAN_OPS"
        )
    return _mode


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Choose the backend of every op inside a `with` block.

    The setting holds for the whole process, like those of `torch.backends`: autograd runs the
    backward of CUDA tensors on threads of its own, which must see it too.

    Args:
        name: "auto" runs the native kernel if one is loaded for the device, else the reference;
            "native" raises RuntimeError if no kernel is loaded; "reference" runs the reference of
            each op, the `*_ref` function that defines the correct result, in plain PyTorch. The
            environment variable STYLEGAN_OPS sets the default.
    Raises: ValueError for any other name.
    """
    global _mode
    before = mode()
    _mode = _checked(name, "backend")
    try:
        yield
    finally:
        _mode = before


def kernel(op: str, x: torch.Tensor, *others: torch.Tensor | None) -> Callable[..., Any] | None:
    """The kernel of `op` for the device of tensor `x`, or None for the reference. For an op that is
    composed of others: that of its first part, so None tells whether kernels run at all.

    Function transforms (torch.func) and forward-mode derivatives of any of the tensors take the
    reference: kernels have backward derivatives only.

    Raises: RuntimeError in mode "native" if no kernel is loaded, except for meta tensors.
    """
    chosen = mode()
    if chosen == "reference":
        return None
    device_type = x.device.type
    found = _kernels.get((op, device_type)) or _kernel_of_parts(op, device_type)
    if found is None or (found.in_extension and not _loaded(device_type)):
        if chosen == "native" and device_type != "meta":  # which computes shapes alone
            reason = _status(op, device_type)["reason"]
            raise RuntimeError(f"{op}: backend is 'native' but {reason}")
        return None
    return None if transformed(x, *others) else found.run


def _kernel_of_parts(op: str, device_type: str) -> Kernel | None:
    for part in _ops.get(op, ()):
        if (part, device_type) in _kernels:
            return _kernels[part, device_type]
    return None


def transformed(*tensors: torch.Tensor | None) -> bool:
    """Whether a function transform (torch.func) or a forward-mode derivative is at work on any."""
    if torch.compiler.is_compiling():
        return False  # the compiler handles them
    for t in tensors:
        if t is not None and (is_wrapped(t) or unpack_dual(t).tangent is not None):
            return True
    return False


def info() -> dict[str, dict[str, dict[str, Any]]]:
    """What runs each op on each device, and why; by name. Loads nothing; see `load`.

    Returns: {op: {device type: {"backend": "native" | "reference", "reason": str, "plans": [...]}}}
        for "cpu", "cuda" and every other device of data that a kernel is registered for. plans: for
        an op with several strategies, what has been measured (`planning`). An op that is composed
        of others has the backend of its first part; once that is loaded, the reason names them all.
    """
    ops = sorted(_ops)
    devices = ["cpu", "cuda"] + sorted({d for _, d in _kernels} - {"cpu", "cuda", "meta"})
    return {op: {d: {**_status(op, d), "plans": plan.plans(op, d)} for d in devices} for op in ops}


def build_info() -> dict[str, dict[str, str]]:
    """About the loaded extensions: {device type: {"file", "compiler", "date", "flags", ...}}."""
    return {
        device: {"file": str(loaded.module.__file__), **loaded.module.build_info()}
        for device, loaded in _extensions.items()
        if loaded.module
    }


def extension(device_type: str) -> Extension:
    """The extension of a device, or why there is none; loads nothing."""
    return _extensions.get(device_type) or Extension(None, "not loaded before its first use")


def has_kernel(op: str, device_type: str) -> bool:
    """Whether csrc has a kernel for `op`, or for a part of it, on a device, loaded or not."""
    found = _kernels.get((op, device_type)) or _kernel_of_parts(op, device_type)
    return found is not None and found.in_extension


def _status(op: str, device_type: str) -> dict[str, str]:
    found = _kernels.get((op, device_type)) or _kernel_of_parts(op, device_type)
    loaded = extension(device_type)
    if found is None:
        return {"backend": "reference", "reason": f"there is no {op} kernel for {device_type}"}
    if found.in_extension and loaded.module is None:
        reason = f"no kernel is loaded for {device_type}: {loaded.reason}"
        return {"backend": "reference", "reason": reason}
    if mode() == "reference":
        return {"backend": "reference", "reason": "the reference backend was asked for"}
    parts = [part for part in _ops[op] if (part, device_type) in _kernels]
    reason = f"composed of {', '.join(parts)}" if parts else "kernel loaded"
    return {"backend": "native", "reason": reason}


def _checked(name: str, source: str) -> str:
    if name not in MODES:
        raise ValueError(f"{source}: expected one of {', '.join(MODES)}, got {name!r}")
    return name
