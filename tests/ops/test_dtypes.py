# SPDX-License-Identifier: Apache-2.0
"""Every public op under autocast and with operands of several dtypes."""

import pytest
import torch
from support.pairs import pairs

import stylegan_ops as ops

F4 = ops.setup_filter([1, 3, 3, 1])
F12 = ops.setup_filter(torch.arange(12.0) + 1)


# No sample of these tests rounds to it: the gradient there is 1 up to PyTorch 2.13, and 0 since.
CLAMP = 1.27


def rand(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def bias_act(act):
    def make(dtype, other, autocast):
        b = rand(4, dtype=other)
        return lambda x: ops.bias_act(x, b, act=act, clamp=CLAMP)

    return make


def upfirdn2d(dtype, other, autocast):
    f = F4.to(other)
    return lambda x: ops.upfirdn2d(x, f, 2, 1, 3)


def upsample2d(dtype, other, autocast):
    f = F12.to(other)
    return lambda x: ops.upsample2d(x, f)


def conv2d_resample(dtype, other, autocast):
    """Only autocast resolves a weight of another dtype."""
    resolved = autocast and torch.float64 not in (dtype, other)
    weight = rand(4, 4, 3, 3, dtype=other if resolved else dtype)
    return lambda x: ops.conv2d_resample(x, weight, F4, down=2, padding=1)


def modulated_conv2d(dtype, other, autocast):
    shapes = (6, 4, 3, 3), (2, 4), (2, 1, 16, 16), (6,)
    weight, styles, noise, bias = (rand(*shape, dtype=other) for shape in shapes)
    f = F4.to(other)
    return lambda x: ops.modulated_conv2d(
        *(x, weight, styles, noise, 2, 1, 1, f, True, False, bias, "lrelu"), clamp=3
    )


def filtered_lrelu(dtype, other, autocast):
    f, b = F12.to(other), rand(4, dtype=other)
    return lambda x: ops.filtered_lrelu(x, f, f, b, 2, 2, [10, 11, 10, 11], clamp=2)


def grid_sample(dtype, other, autocast):
    grid = rand(2, 8, 8, 2).tanh()
    return lambda x: ops.grid_sample(x, grid)


OPS = {
    "bias_act": bias_act("lrelu"),
    "swish": bias_act("swish"),
    "softplus": bias_act("softplus"),
    "upfirdn2d": upfirdn2d,
    "upsample2d": upsample2d,
    "conv2d_resample": conv2d_resample,
    "modulated_conv2d": modulated_conv2d,
    "filtered_lrelu": filtered_lrelu,
    "grid_sample": grid_sample,
}
LOWERED = ("conv2d_resample", "modulated_conv2d")  # as PyTorch's own convolutions
CASES = pairs(
    {
        "op": list(OPS),
        "backend": ["auto", "reference"],
        "dtype": [torch.float32, torch.bfloat16, torch.float16, torch.float64],
        "other": [torch.float32, torch.bfloat16, torch.float64],  # of weights, biases and filters
        "autocast": [None, torch.bfloat16, torch.float16],
        "last": [False, True],
        "entry": ["eager", "grad", "compiled"],
    }
)


def tolerance(dtype):
    return {torch.float64: 1e-3, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 5e-2}[
        dtype
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(map(str, c.values())))
def test_dtypes(case):
    autocast, dtype = case["autocast"], case["dtype"]
    run = OPS[case["op"]](dtype, case["other"], autocast)
    exact = OPS[case["op"]](torch.float64, torch.float64, None)
    layout = torch.channels_last if case["last"] else torch.contiguous_format
    x = rand(2, 4, 8, 8).to(dtype).contiguous(memory_format=layout).requires_grad_()
    wide = x.detach().double().requires_grad_()
    expected_dtype = dtype
    if autocast and case["op"] in LOWERED and dtype != torch.float64:
        expected_dtype = autocast
    if case["entry"] == "compiled":
        run = torch.compile(run, fullgraph=True, backend="aot_eager", dynamic=False)
    with ops.backend(case["backend"]):
        results = []
        for tensor, function, on in ((wide, exact, False), (x, run, autocast is not None)):
            with torch.autocast("cpu", autocast or torch.bfloat16, enabled=on):
                y = function(tensor)
                loss = y.square().mean()
                (dx,) = torch.autograd.grad(loss, tensor, create_graph=case["entry"] == "grad")
                if case["entry"] == "grad":
                    (ddx,) = torch.autograd.grad(dx.square().sum(), tensor)
                    assert ddx.dtype == tensor.dtype and ddx.isfinite().all()
            results.append((y, dx))
    torch.compiler.reset()
    (y_ref, dx_ref), (y, dx) = results
    assert y.dtype == expected_dtype and dx.dtype == dtype
    used = {expected_dtype, case["other"], autocast}
    lowest = next((d for d in (torch.bfloat16, torch.float16) if d in used), torch.float32)
    for ours, theirs in ((y, y_ref), (dx, dx_ref)):
        error = (ours.double() - theirs).norm() / theirs.norm()  # a kink may flip a sample
        assert error < tolerance(lowest)


def test_a_mixture_that_only_autocast_resolves():
    x, weight = rand(1, 4, 8, 8, dtype=torch.bfloat16), rand(4, 4, 3, 3)
    with pytest.raises(ValueError, match="x is torch.bfloat16 but weight is torch.float32"):
        ops.conv2d_resample(x, weight, padding=1)
    with torch.autocast("cpu", torch.bfloat16):
        assert ops.conv2d_resample(x, weight, padding=1).dtype == torch.bfloat16
        assert ops.conv2d_resample(x=x, weight=weight, padding=1).dtype == torch.bfloat16


def test_a_derivative_is_exact_if_autocast_is_on_for_it_alone():
    x = rand(2, 4, 8, 8).requires_grad_()
    grads = []
    for enabled in (False, True):
        y = ops.upsample2d(ops.bias_act(x, act="swish"), F4)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            grads.append(torch.autograd.grad(y.square().sum(), x)[0])
    torch.testing.assert_close(*grads)


def test_grid_sample_before_pytorch_2_13(monkeypatch):
    from stylegan_ops.ops import grid_sample as module

    monkeypatch.setattr(module, "HAS_SECOND_DERIVATIVE", False)
    x = rand(1, 2, 6, 6).double().requires_grad_()
    grid = rand(1, 4, 4, 2).tanh().double().requires_grad_()
    assert torch.autograd.gradcheck(ops.grid_sample, (x, grid))
    assert torch.autograd.gradgradcheck(lambda x: ops.grid_sample(x, grid.detach()), (x,))
    dx, dgrid = torch.autograd.grad(
        ops.grid_sample(x, grid).square().sum(), (x, grid), create_graph=True
    )
    for gradient in (dx, dgrid):
        with pytest.raises(RuntimeError, match="no second derivative w.r.t. the grid; PyTorch 2"):
            gradient.square().sum().backward(retain_graph=True)
