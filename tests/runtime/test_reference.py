# SPDX-License-Identifier: Apache-2.0
"""backend("reference") runs the references, and composed ops tell what they are composed of."""

import importlib

import pytest
import torch
from support.checks import rand
from support.native import needs_native

import stylegan_ops
from stylegan_ops import backend, fold_weight, setup_filter
from stylegan_ops.runtime import dispatch

F = setup_filter([1, 3, 3, 1])
X, W = rand(2, 3, 8, 6), rand(4, 3, 3, 3, seed=1)
LAYER = {"styles": rand(2, 3, seed=2), "noise": rand(1, 1, 16, 12), "bias": rand(4), "act": "lrelu"}
CALLS = {
    "bias_act": lambda x: stylegan_ops.bias_act(x, act="swish"),
    "upfirdn2d": lambda x: stylegan_ops.upfirdn2d(x, F, up=2, padding=2),
    "filtered_lrelu": lambda x: stylegan_ops.filtered_lrelu(x, F, F, up=2, down=2, padding=4),
    "conv2d_resample": lambda x: stylegan_ops.conv2d_resample(x, W, F, up=2, padding=1),
    "modulated_conv2d": lambda x: stylegan_ops.modulated_conv2d(
        x, W, up=2, padding=1, resample_filter=F, **LAYER
    ),
    "grid_sample": lambda x: stylegan_ops.grid_sample(x, rand(2, 5, 5, 2)),
}
REGISTERED = ("bias_act", "upfirdn2d", "filtered_lrelu")
COMPOSED = ("conv2d_resample", "modulated_conv2d")


def watched(monkeypatch, op):
    """The calls of the reference of an op, from now on."""
    module, calls = importlib.import_module(f"stylegan_ops.ops.{op}"), []
    own = getattr(module, f"{op}_ref")
    monkeypatch.setattr(module, f"{op}_ref", lambda *a, **k: calls.append(op) or own(*a, **k))
    return calls


@pytest.mark.parametrize("op", CALLS)
def test_the_reference_runs_without_dispatch(op, monkeypatch):
    calls = watched(monkeypatch, op)
    expected = CALLS[op](X)
    calls.clear()
    with backend("reference"):
        monkeypatch.setattr(dispatch, "_kernels", {})
        y = CALLS[op](X)
    assert calls == [op] or (op == "grid_sample" and torch.__version__ < (2, 13))
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("op", CALLS)
def test_second_derivatives_of_the_reference(op):
    x = rand(2, 3, 8, 6, grad=True)
    with backend("reference"):
        assert torch.autograd.gradcheck(CALLS[op], x, fast_mode=True)
        assert torch.autograd.gradgradcheck(CALLS[op], x, fast_mode=True)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_layer_keeps_its_layout_dtype_and_folded_weight(layout):
    given = {k: v.float() if torch.is_tensor(v) else v for k, v in LAYER.items()}
    x, kwargs = X.contiguous(memory_format=layout), {"up": 2, "padding": 1, "resample_filter": F}
    expected = CALLS["modulated_conv2d"](X)
    for dtype, atol in ((torch.float32, 1e-5), (torch.float16, 2e-2), (torch.bfloat16, 1e-1)):
        for weight in (W.float(), fold_weight(W.float(), dtype, up=2)):
            with backend("reference"):
                y = stylegan_ops.modulated_conv2d(x.to(dtype), weight, **given, **kwargs)
            assert y.dtype == dtype and y.is_contiguous(memory_format=layout)
            torch.testing.assert_close(y.double(), expected, rtol=1e-2, atol=atol)


def test_an_empty_batch():
    given = {**LAYER, "styles": LAYER["styles"][:0]}
    with backend("reference"):
        y = stylegan_ops.modulated_conv2d(X[:0], W, up=2, padding=1, resample_filter=F, **given)
    assert y.shape == (0, 4, 16, 12)


@needs_native
@pytest.mark.parametrize("op", COMPOSED)
def test_composed_ops_name_their_parts(op):
    CALLS[op](X)
    status = stylegan_ops.info()[op]["cpu"]
    assert status["backend"] == "native" and status["reason"].startswith("composed of upfirdn2d, ")
    assert (op, "cpu") not in dispatch._kernels
    with backend("reference"):
        assert stylegan_ops.info()[op]["cpu"]["backend"] == "reference"


@pytest.mark.parametrize("op", [*REGISTERED, *COMPOSED])
def test_native_raises_in_the_name_of_the_op(op, monkeypatch):
    monkeypatch.setattr(dispatch, "_extensions", {"cpu": dispatch.Extension(None, "no compiler")})
    with backend("native"), pytest.raises(RuntimeError, match=f"^{op}: .*for cpu: no compiler"):
        CALLS[op](X)
    assert stylegan_ops.info()[op]["cpu"]["backend"] == "reference"
