# SPDX-License-Identifier: Apache-2.0
"""What `stylegan doctor` shows: the tools, the extensions, each native op against its reference."""

from __future__ import annotations

import itertools
import platform
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.grad import conv2d_weight

from stylegan_ops.build import cache, cuda_tools
from stylegan_ops.build import tools as build_tools
from stylegan_ops.build.tools import Problem
from stylegan_ops.layer import winograd
from stylegan_ops.layer.fir_act import fir_act, fir_act_ref
from stylegan_ops.layer.scale_act import scale_act, scale_act_ref
from stylegan_ops.layer.weight_grad import weight_grad, weight_grad_ref
from stylegan_ops.ops.bias_act import bias_act, bias_act_ref
from stylegan_ops.ops.filtered_lrelu import filtered_lrelu, filtered_lrelu_ref
from stylegan_ops.ops.filters import setup_filter
from stylegan_ops.ops.upfirdn2d import upfirdn2d, upfirdn2d_ref
from stylegan_ops.ops.warp_affine import warp_affine, warp_affine_ref
from stylegan_ops.runtime import dispatch

__all__ = ["Freed", "Health", "Problem", "Row", "clean", "devices", "health", "loaded", "tools"]

MAX_ERROR = 1e-5  # relative to the largest value, float32


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a name, what was found, and how to fix it if something is missing."""

    name: str
    found: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """How an op does on a device."""

    op: str
    device: str
    backend: str
    found: str
    needed: bool = True  # False: no network is faster with a kernel of it on this device
    faulty: bool = False  # the kernel disagrees with its reference, or is missing


@dataclass(frozen=True, slots=True)
class Freed:
    """What emptying the cache gave back."""

    folder: Path
    size: int  # bytes


def clean() -> Freed:
    """Empty the cache of built kernels. Raises: Problem if there is no cache."""
    return Freed(*cache.clean())


def tools() -> Iterator[Row]:
    """Rows about the machine and everything that a build needs."""
    yield Row("python", f"{platform.python_version()}, {sys.executable}")
    yield Row("torch", torch.__version__)
    yield _row("compiler", lambda: build_tools.find_compiler()[1])
    yield _row("ninja", lambda: ", ".join(reversed(build_tools.find_ninja())))
    yield _row("headers", build_tools.check_python_headers)
    unused = torch.version.cuda is None and shutil.which("nvidia-smi")
    yield Row(
        "CUDA",
        torch.version.cuda or "not used: this PyTorch is built without CUDA",
        "pip install torch: a build for CUDA, https://pytorch.org" if unused else "",
    )
    if torch.version.cuda:
        yield _row("nvcc", _nvcc)
    yield _gpus()
    yield _row("cache", _cache_folder)


def devices() -> list[str]:
    """The devices with kernels that ops can run on here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the row of the GPU tells the same
        return ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def loaded(device: str) -> Row:
    """A row about the extension of a device. It is built if need be, even if that failed before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the row tells the same
        dispatch.load(device, again=True)
    extension = dispatch.extension(device)
    if extension.module is None:
        return Row(f"{device} kernels", f"none: {extension.what}", extension.fix)
    info = dispatch.build_info()[device]
    about = ", ".join(f"{k} {v}" for k, v in info.items() if k != "file")
    return Row(f"{device} kernels", f"{info['file']} ({about})")


def health() -> Iterator[Health]:
    """Every op on every device; each native op runs once against its reference."""
    for op, states in dispatch.info().items():
        for device in devices():
            state = states[device]
            native = state["backend"] == "native"
            if native and op in CHECKS:
                error = CHECKS[op](device)
                found = f"error {error:.1e} against the reference"
                yield Health(op, device, "native", found, faulty=not error <= MAX_ERROR)
            elif not native and not dispatch.has_kernel(op, device):
                found = "PyTorch's own operations do it"
                yield Health(op, device, "reference", found, needed=False)
            else:  # an op that is composed of others is checked with these
                faulty = not native and dispatch.mode() != "reference"
                yield Health(op, device, state["backend"], state["reason"], faulty=faulty)


def _check_bias_act(device: str) -> float:
    inputs = _random(device, (2, 8, 9, 16), 8)
    return max(
        _error(bias_act, bias_act_ref, inputs, act=act, clamp=1.5) for act in ("lrelu", "swish")
    )


def _check_upfirdn2d(device: str) -> float:
    """Every resampling, filters with and without factors, both layouts."""
    (x,), worst = _random(device, (2, 8, 18, 21)), 0.0
    filters = setup_filter([1, 3, 3, 1]), setup_filter(range(1, 13)), setup_filter([[1, 2], [3, 5]])
    for f, layout in itertools.product(filters, (torch.contiguous_format, torch.channels_last)):
        for up, down in ((1, 1), (2, 1), (1, 2)):
            given = dict(f=f.to(device), up=up, down=down, padding=5)
            images = [x.contiguous(memory_format=layout)]
            worst = max(worst, _error(upfirdn2d, upfirdn2d_ref, images, **given))
    return worst


def _check_fir_act(device: str) -> float:
    x, scale, noise, b = _random(device, (2, 8, 17, 17), (2, 8), (1, 1, 16, 16), 8)
    f, worst = setup_filter([1, 3, 3, 1]).to(device), 0.0
    for layout in (torch.contiguous_format, torch.channels_last):
        inputs = x.contiguous(memory_format=layout), scale, noise, b

        def ours(x: Any, scale: Any, noise: Any, b: Any, run: Any = fir_act) -> Any:
            return run(x, f, 1, scale=scale, noise=noise, b=b, act="lrelu", clamp=1.5)

        worst = max(worst, _error(ours, partial(ours, run=fir_act_ref), inputs))
    return worst


def _check_scale_act(device: str) -> float:
    """With a mask of its own and without, both layouts."""
    worst = 0.0
    for size in (16, 15):
        inputs = _random(device, (2, 8, size, 2 * size), (2, 8), (1, 1, size, 2 * size), 8)
        for layout in (torch.contiguous_format, torch.channels_last):
            inputs[0] = inputs[0].contiguous(memory_format=layout)
            given = dict(act="lrelu", clamp=1.5)
            worst = max(worst, _error(scale_act, scale_act_ref, inputs, **given))
    return worst


def _check_weight_grad(device: str) -> float:
    x, dy = (
        t.contiguous(memory_format=torch.channels_last)
        for t in _random(device, (2, 32, 65, 65), (2, 8, 32, 32))
    )
    ours = weight_grad(x, dy, (3, 3), 2, (0, 0))
    theirs = weight_grad_ref(x, dy, (3, 3), 2, (0, 0))
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def _check_winograd(device: str) -> float:
    """Every form, and the gradients w.r.t. the weight of those that have one."""
    x, w = _random(device, (2, 32, 13, 14), (48, 32, 3, 3))
    stride_1, stride_2 = F.conv2d(x, w, padding=1), F.conv2d(x, w, stride=2)
    pairs = [(winograd.convolve(x, winograd.tiles(w, "down")), stride_2)]
    up = F.conv_transpose2d(x, w.transpose(0, 1), stride=2)
    pairs += [(winograd.convolve(x, winograd.tiles(w, "up")), up)]
    dw = conv2d_weight(x, w.shape, stride_2, stride=2)
    pairs += [(winograd.weight_grad(x, stride_2, "down"), dw)]
    dw = conv2d_weight(x, w.shape, stride_1, padding=1)
    for form in ("tile2", "tile4"):
        pairs += [(winograd.convolve(x, winograd.tiles(w, form), (1, 1)), stride_1)]
        pairs += [(winograd.weight_grad(x, stride_1, form, (1, 1)), dw)]
    return max(((ours - theirs).abs().max() / theirs.abs().max()).item() for ours, theirs in pairs)


def _check_filtered_lrelu(device: str) -> float:
    """Filters with factors and without, several resamplings, both layouts."""
    x, b = _random(device, (2, 20, 13, 18), 20)
    line, plane = setup_filter(range(1, 13)), setup_filter([[1, 2, 4], [3, 5, 1]] * 3)
    worst = 0.0
    for up, down, fu, fd in ((2, 2, line, line), (4, 2, line, plane), (2, 4, plane, line)):
        given = dict(fu=fu.to(device), fd=fd.to(device), up=up, down=down, padding=9, clamp=0.8)

        def ours(x: Any, b: Any, given: Any = given, run: Any = filtered_lrelu) -> Any:
            return run(x, b=b, **given)

        for layout in (torch.contiguous_format, torch.channels_last):
            inputs = x.contiguous(memory_format=layout), b
            worst = max(worst, _error(ours, partial(ours, run=filtered_lrelu_ref), inputs))
    return worst


def _check_warp_affine(device: str) -> float:
    """A turn, a shift and a map without inverse."""
    x, f = *_random(device, (3, 3, 21, 18)), torch.tensor([0.1, 0.5, 0.3, 0.1], device=device)
    maps = [[0.9, -0.3, 4], [0.4, 1.1, -3], [0, 0, 1]], [[1, 0, 7.3], [0, 1, 0], [0, 0, 1]]
    matrix = torch.tensor([*maps, [[1, 1, 0], [1, 1, 0], [0, 0, 1]]], device=device)
    return _error(warp_affine, warp_affine_ref, [x], matrix=matrix, f=f)


def _random(device: str, *shapes: int | Sequence[int]) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=rng).to(device) for s in shapes]


def _error(
    kernel: Callable[..., torch.Tensor],
    reference: Callable[..., torch.Tensor],
    inputs: Iterable[torch.Tensor],
    **kwargs: Any,
) -> float:
    """Largest error of value and gradients, relative to the largest of each."""
    results = []
    for run in (kernel, reference):
        leaves = [t.clone().requires_grad_() for t in inputs]
        y = run(*leaves, **kwargs)
        dy = torch.linspace(-1, 1, y.numel(), device=y.device).sin().view(y.shape)
        results.append([y, *torch.autograd.grad(y, leaves, dy)])
    worst = 0.0
    for ours, theirs in zip(*results):
        error = (ours - theirs).abs().max() / theirs.abs().max()
        worst = max(worst, error.item()) if error.isfinite() else float("inf")
    return worst


CHECKS: dict[str, Callable[[str], float]] = {
    "bias_act": _check_bias_act,
    "upfirdn2d": _check_upfirdn2d,
    "fir_act": _check_fir_act,
    "scale_act": _check_scale_act,
    "filtered_lrelu": _check_filtered_lrelu,
    "winograd": _check_winograd,
    "weight_grad": _check_weight_grad,
    "warp_affine": _check_warp_affine,
}


def _row(name: str, find: Callable[[], Any]) -> Row:
    try:
        return Row(name, str(find()))
    except cache.Unwritable as problem:
        return Row(name, f"missing: {problem}", f"set {cache.VARIABLE} to a writable folder")
    except Problem as problem:
        return Row(name, f"missing: {problem.what}", problem.fix)


def _nvcc() -> str:
    cuda = cuda_tools.check_cuda(torch.version.cuda)
    targets = " ".join(cuda_tools.gpu_targets(cuda.home))
    compiler = cuda.host_compiler or "its default"
    return f"{cuda.nvcc}, {cuda.home}, host compiler {compiler}, targets {targets}"


def _gpus() -> Row:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        works = torch.cuda.is_available()
    if not works and caught and "no NVIDIA driver" not in str(caught[0].message):
        why = " ".join(str(caught[0].message).split())[:200]
        return Row("GPU", f"none that works: {why}", "nvidia-smi: whether the driver works")
    if not works:
        return Row("GPU", "none, everything runs on the CPU")
    found = (torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count()))
    texts = (f"{p.name}, {p.total_memory / 1e9:.0f} GB, {p.major}.{p.minor}" for p in found)
    return Row("GPU", "; ".join(texts))


def _cache_folder() -> str:
    folder = cache.folder()
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    return f"{folder}, {size / 1e6:.1f} MB"
