# SPDX-License-Identifier: Apache-2.0
"""Native kernel or reference: the one place where that is decided.

A kernel library announces itself with `register(op, device, kernel)`. Every public op asks
`kernel(op, x)` and runs its PyTorch reference where the answer is None.
"""

import os
from contextlib import contextmanager

MODES = ("auto", "native", "reference")

_kernels = {}  # (op, device type) -> callable with the op's own signature
_ops = []  # names of the ops that have a place for a kernel, in order of definition
_mode = None  # None until first use, so that the environment variable is read then


def declare(op):
    """Make room for kernels of `op`; every op module calls it once."""
    _ops.append(op)
    return op


def register(op, device_type, kernel):
    """Install `kernel` for `op` on tensors of `device_type` ("cpu", "cuda")."""
    if op not in _ops:
        raise ValueError(f"register: no op is called {op!r}; there are {', '.join(_ops)}")
    _kernels[op, device_type] = kernel


def mode():
    """The backend in force: "auto", "native" or "reference".

    Raises: ValueError if the environment variable STYLEGAN_OPS says anything else.
    """
    global _mode
    if _mode is None:
        _mode = _checked(
            os.environ.get("STYLEGAN_OPS", "auto"), "environment variable STYLEGAN_OPS"
        )
    return _mode


@contextmanager
def backend(name):
    """Choose the backend of every op inside a `with` block.

    The setting is one for the process, like those of `torch.backends`, because autograd runs the
    backward of CUDA tensors on threads of its own, which must see it too.

    Args:
        name: "auto" takes the native kernel where one is loaded for the device and the reference
            otherwise; "native" raises RuntimeError where no kernel is loaded; "reference" never
            takes a kernel. The environment variable STYLEGAN_OPS sets the default.
    Raises: ValueError for any other name.
    """
    global _mode
    before = mode()
    _mode = _checked(name, "backend")
    try:
        yield
    finally:
        _mode = before


def kernel(op, x):
    """The kernel that serves `op` on the device of tensor `x`, or None for the reference.

    Raises: RuntimeError in mode "native" where no kernel is loaded.
    """
    chosen = mode()
    if chosen == "reference":
        return None
    found = _kernels.get((op, x.device.type))
    if found is None and chosen == "native":
        raise RuntimeError(f"{op}: backend is 'native' but no kernel is loaded for {x.device.type}")
    return found


def info():
    """What runs each op on each device, and why.

    Returns: {op: {device type: {"backend": "native" | "reference", "reason": str}}} for "cpu",
        "cuda" and every other device that a kernel is registered for.
    """
    devices = ["cpu", "cuda"] + sorted({d for _, d in _kernels} - {"cpu", "cuda"})
    return {op: {d: _status(op, d) for d in devices} for op in _ops}


def _status(op, device_type):
    if (op, device_type) not in _kernels:
        return {"backend": "reference", "reason": f"no {op} kernel is loaded for {device_type}"}
    if mode() == "reference":
        return {"backend": "reference", "reason": "the reference backend was asked for"}
    return {"backend": "native", "reason": "kernel loaded"}


def _checked(name, source):
    if name not in MODES:
        raise ValueError(f"{source}: expected one of {', '.join(MODES)}, got {name!r}")
    return name
