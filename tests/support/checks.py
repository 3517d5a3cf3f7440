# SPDX-License-Identifier: Apache-2.0
"""What every op is checked for."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import stylegan_ops

FIXTURES = Path(__file__).parents[1] / "fixtures"
TOLERANCE = 1e-5  # of the largest value; the known-good numbers are stored in float32
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
LAYOUTS = [torch.contiguous_format, torch.channels_last]

_npz = np.load(FIXTURES / "ops.npz")
_cases = json.loads(bytes(_npz["cases"]))


def fixture_cases(op):
    """The numbers of the known-good cases of `op`, as pytest parameters."""
    numbers = [i for i, case in enumerate(_cases) if case["op"] == op]
    assert numbers, op
    return [pytest.param(i, id=f"{i:03d}") for i in numbers]


def fixture_inputs(number, dtype=torch.float64):
    """(inputs, keyword arguments, names of differentiable inputs) of a known-good case."""
    case = _cases[number]
    inputs = {k: torch.tensor(_npz[f"{number:03d}.{k}"]).to(dtype) for k in case["inputs"]}
    if "f" in inputs:
        inputs["f"] = inputs["f"].float()
    kwargs = dict(case["kwargs"])
    if "resample_filter" in kwargs:
        taps = kwargs.pop("resample_filter")
        name = "f" if case["op"] == "conv2d_resample" else "resample_filter"
        kwargs[name] = None if taps is None else stylegan_ops.setup_filter(taps)
    return inputs, kwargs, case["grad_inputs"]


def check_fixture(op, number):
    """Forward, first and second derivative of a known-good case, in float64."""
    inputs, kwargs, names = fixture_inputs(number)
    leaves = [inputs[name].requires_grad_() for name in names]
    y = op(**inputs, **kwargs)
    _close(y, number, "y")
    dy = torch.tensor(_npz[f"{number:03d}.dy"], dtype=torch.float64)
    grads = torch.autograd.grad((y * dy).sum(), leaves, create_graph=True)
    for name, grad in zip(names, grads):
        _close(grad, number, f"grad.{name}")
    second = [name for name in names if f"{number:03d}.grad2.{name}" in _npz]
    if second:
        total = sum(g.square().sum() for g in grads)
        # A second derivative that is 0 everywhere may show as no dependence at all.
        total = total + sum(inputs[n].sum() * 0 for n in second)
        for name, grad in zip(second, torch.autograd.grad(total, [inputs[n] for n in second])):
            _close(grad, number, f"grad2.{name}")


def _close(value, number, name):
    expected = _npz[f"{number:03d}.{name}"]
    assert tuple(value.shape) == expected.shape
    error = np.abs(value.detach().numpy() - expected).max()
    assert error <= TOLERANCE * max(np.abs(expected).max(), 1e-6), f"{name}: error {error:.3g}"


def check_fixture_dtype(op, own, number, dtype, layout=torch.contiguous_format):
    """A known-good case by the 2x rule, in another dtype and layout."""
    inputs, kwargs, names = fixture_inputs(number)
    check_dtype(
        lambda **given: op(**given, **kwargs),
        lambda **given: own(**given, **kwargs),
        inputs,
        names,
        dtype,
        layout,
    )


def check_dtype(op, own, inputs, names, dtype, layout):
    """The 2x rule: the error of `op` in `dtype`, forward and first derivative, is at most twice the
    error of `own`, PyTorch's own ops in that dtype, plus one ulp. Both against float64, as root
    mean squares, which do not hang on one element's luck. Dtype and layout are kept.

    Args:
        inputs: {name: float64 tensor, or anything else as it is}.
        names: of the differentiable inputs.
    """

    def run(function, to):
        args = {}
        for name, value in inputs.items():
            if torch.is_tensor(value) and value.dtype == torch.float64:
                value = value.to(dtype).to(to)
                if value.ndim == 4:
                    value = value.contiguous(memory_format=layout)
                value = value.detach().requires_grad_(name in names)
            args[name] = value
        y = function(**args)
        dy = rand(*y.shape, seed=2).to(dtype).to(to)
        return y, [y, *torch.autograd.grad(y, [args[name] for name in names], dy)]

    _, exact = run(own, torch.float64)
    _, theirs = run(own, dtype)
    y, ours = run(op, dtype)
    assert y.dtype == dtype
    if min(y.shape[1:]) > 1:
        assert y.is_contiguous(memory_format=layout)
    for label, e, t, o in zip(["y", *names], exact, theirs, ours):
        allowed = 2 * _rms(t.double() - e) + torch.finfo(dtype).eps * _rms(e)
        error = _rms(o.double() - e)
        assert error <= allowed, f"{label}: error {error:.3g}, allowed {allowed:.3g}"


def _rms(x):
    return x.detach().square().mean().sqrt().item()


def rand(*shape, seed=0, grad=False):
    """float64 standard normal numbers."""
    rng = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=rng, dtype=torch.float64).requires_grad_(grad)


def layouts_of(x):
    """(name, x [N, C, H, W] in that layout) for layouts that a kernel may meet."""
    yield "contiguous", x.contiguous()
    yield "channels_last", x.contiguous(memory_format=torch.channels_last)
    yield "permuted", x.transpose(0, -1).contiguous().transpose(0, -1)
    yield "gaps", torch.stack([x, x], dim=-1)[..., 0]
    yield "channels_last with gaps", torch.stack([x, x], dim=1).movedim(2, -1)[:, 0].movedim(-1, 1)
    yield "expanded", x[:1].expand(x.shape)
    offset = x.new_empty(x.numel() + 1)[1:].view(x.shape)
    yield "misaligned", offset.copy_(x)
