# SPDX-License-Identifier: Apache-2.0
"""Native kernel or reference: the one place where that is decided.

An op announces its kernels with `register(op, device, kernel)`. Every public op asks
`kernel(op, x)` and runs its PyTorch reference where the answer is None. The library that holds the
kernels of a device is loaded, and if need be built, when it is first asked for.
"""

import os
import threading
import warnings
from contextlib import contextmanager

import torch
from torch.autograd.forward_ad import unpack_dual

from stylegan_ops.runtime import plan

try:  # no public function tells; where this one is missing, torch.func reports an error of its own
    from torch._C._functorch import is_functorch_wrapped_tensor as is_wrapped
except ImportError:

    def is_wrapped(tensor):
        return False


MODES = ("auto", "native", "reference")

_kernels = {}  # (op, device type) -> (callable with the op's own signature, from our library?)
_libraries = {}  # device type -> (module or None, why not)
_lock = threading.Lock()
_ops = []  # names of the ops that have a place for a kernel, in order of definition
_mode = None  # None until first use, so that the environment variable is read then


def declare(op):
    """Make room for kernels of `op`; every op module calls it once."""
    _ops.append(op)
    return op


def register(op, device_type, kernel, library=False):
    """Install `kernel` for `op` on tensors of `device_type` ("cpu", "cuda").

    Args:
        library: the kernel needs the native library of that device (`load`).
    """
    if op not in _ops:
        raise ValueError(f"register: no op is called {op!r}; there are {', '.join(_ops)}")
    _kernels[op, device_type] = kernel, library


def load(device_type, again=False):
    """Load the native library of a device ("cpu", "cuda"), building it first where need be. Ops do
    it at first use; call it to choose the moment, as before several processes start.

    Args:
        again: try again what has failed before.
    Returns: None, or one line that says why there is no library.
    """
    with _lock:
        if device_type not in _libraries or (again and _libraries[device_type][0] is None):
            from stylegan_ops.build import build, cache

            if again:
                cache.forget_failures()
            if device_type in build.DEVICES:
                _libraries[device_type] = build.load(device_type)
            else:
                _libraries[device_type] = None, f"there are no kernels for {device_type}"
            reason = _libraries[device_type][1]
            if reason and device_type in build.DEVICES:
                text = f"no {device_type} kernels, the slower reference is taken: {reason}"
                warnings.warn_explicit(text, RuntimeWarning, "stylegan_ops", 0)
    return _libraries[device_type][1] or None


def _loaded(device_type):
    known = _libraries.get(device_type)
    return known[0] is not None if known else load(device_type) is None


# What torch.compiler.assume_constant_result does; that would import the compiler, one second of
# it. A graph being traced calls the function and keeps its result.
_loaded._dynamo_marked_constant = True


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


def kernel(op, x, *others):
    """The kernel that serves `op` on the device of tensor `x`, or None for the reference.

    Function transforms (torch.func) and forward-mode derivatives of any of the tensors take the
    reference: kernels have backward derivatives only.

    Raises: RuntimeError in mode "native" where no kernel is loaded.
    """
    chosen = mode()
    if chosen == "reference":
        return None
    device_type = x.device.type
    found, library = _kernels.get((op, device_type), (None, False))
    if library and not _loaded(device_type):
        found = None
    if found is not None and transformed(x, *others):
        return None
    if found is None and chosen == "native":
        raise RuntimeError(f"{op}: backend is 'native' but {_status(op, device_type)['reason']}")
    return found


def transformed(*tensors):
    """Whether a function transform (torch.func) or a forward-mode derivative is at work on any."""
    if torch.compiler.is_compiling():
        return False  # the compiler knows
    return any(
        t is not None and (is_wrapped(t) or unpack_dual(t).tangent is not None) for t in tensors
    )


def info():
    """What runs each op on each device, and why. Loads nothing; see `load`.

    Returns: {op: {device type: {"backend": "native" | "reference", "reason": str, "plans": [...]}}}
        for "cpu", "cuda" and every other device of data that a kernel is registered for. plans: of
        an op with several strategies, what has been measured (`planning`).
    """
    devices = ["cpu", "cuda"] + sorted({d for _, d in _kernels} - {"cpu", "cuda", "meta"})
    return {op: {d: {**_status(op, d), "plans": plan.plans(op, d)} for d in devices} for op in _ops}


def build_info():
    """What the loaded libraries are: {device type: {"file", "compiler", "date", "flags", ...}}."""
    return {
        d: {"file": module.__file__, **module.build_info()}
        for d, (module, _) in _libraries.items()
        if module
    }


def has_kernel(op, device_type):
    """Whether csrc has a kernel for `op` on a device, loaded or not."""
    return _kernels.get((op, device_type), (None, False))[1]


def _status(op, device_type):
    found, library = _kernels.get((op, device_type), (None, False))
    module, why_not = _libraries.get(device_type, (None, "not loaded before its first use"))
    if found is None:
        return {"backend": "reference", "reason": f"there is no {op} kernel for {device_type}"}
    if library and module is None:
        return {
            "backend": "reference",
            "reason": f"no kernel is loaded for {device_type}: {why_not}",
        }
    if mode() == "reference":
        return {"backend": "reference", "reason": "the reference backend was asked for"}
    return {"backend": "native", "reason": "kernel loaded"}


def _checked(name, source):
    if name not in MODES:
        raise ValueError(f"{source}: expected one of {', '.join(MODES)}, got {name!r}")
    return name
