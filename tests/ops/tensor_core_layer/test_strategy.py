# SPDX-License-Identifier: Apache-2.0
"""The strategy "tensor_core_layer" of modulated_conv2d around its kernel: which weights, styles
and scales the kernel is given. On a CPU its reference takes its place, with float32 sums."""

import pytest
import torch
from support.checks import rand
from support.gpu import pytestmark as on_gpu

from stylegan_ops import fold_weight, modulated_conv2d, setup_filter
from stylegan_ops.layer import tensor_core_layer
from stylegan_ops.layer.choose import candidates
from stylegan_ops.layer.records import Epilogue, Layer, Resampling
from stylegan_ops.layer.strategies import STRATEGIES
from stylegan_ops.ops.modulated_conv2d import modulated_conv2d_ref
from stylegan_ops.runtime import plan

LAST = torch.channels_last
BOUNDS = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1.5e-2}  # in norm
CASES = [  # up, kernel, padding, flip_weight, demodulate
    *[(1, 3, 1, True, True), (1, 3, 0, False, True), (1, 3, 2, True, False)],
    *[(1, 1, 0, True, False), (2, 3, 1, True, True), (2, 3, 1, False, False)],
]
by_case = pytest.mark.parametrize("case", CASES, ids=str)


def layer_of(case, dtype, device="cpu"):
    """x, weight, styles, keyword arguments of modulated_conv2d, its result in float64."""
    up, kernel, padding, flip, demodulate = case
    x = rand(2, 32, 9, 8).to(dtype)
    weight = rand(16, 32, kernel, kernel, seed=1).float()
    large = 300 if dtype == torch.float16 else 1  # sums of x * styles pass what float16 can hold
    styles = large * rand(2, 32, seed=2).float()
    height, width = (up * n + 2 * padding - kernel + 1 for n in (9, 8))
    kwargs = {
        "noise": rand(1, 1, height, width, seed=3).float(),
        "bias": rand(16, seed=4).float(),
        **{"up": up, "padding": padding, "flip_weight": flip, "demodulate": demodulate},
        **{"resample_filter": setup_filter([1, 3, 3, 1]), "act": "lrelu", "clamp": 4000.0},
    }
    wide = {k: v.double() if k in ("noise", "bias") else v for k, v in kwargs.items()}
    exact = modulated_conv2d_ref(x.double(), weight.double(), styles.double(), **wide)
    here = lambda t: t.to(device) if torch.is_tensor(t) else t
    x = here(x).contiguous(memory_format=LAST)
    return x, here(weight), here(styles), {k: here(v) for k, v in kwargs.items()}, exact


def check(y, exact, dtype):
    assert y.shape == exact.shape and y.dtype == dtype
    assert y.is_contiguous(memory_format=LAST)
    assert (y.cpu().double() - exact).norm() <= BOUNDS[dtype] * exact.norm()


@by_case
@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
def test_what_the_kernel_is_given(dtype, case, monkeypatch):
    def defined(x, w, *rest):
        return tensor_core_layer.tensor_core_layer_ref(x.float(), w.float(), *rest).to(x.dtype)

    monkeypatch.setattr(tensor_core_layer, "tensor_core_layer", defined)
    x, weight, styles, kwargs, exact = layer_of(case, dtype)
    k = kwargs
    resampling = Resampling(k["up"], 1, k["padding"], k["resample_filter"], k["flip_weight"])
    end = Epilogue(k["bias"], k["act"], None, None, k["clamp"])
    for folded in (None, fold_weight(weight, dtype, k["up"])):
        given = weight if folded is None else folded.weight
        layer = Layer(given, folded, styles, k["demodulate"], resampling, k["noise"], end, LAST)
        check(STRATEGIES["tensor_core_layer"](x, layer), exact, dtype)


def test_off_until_measured():
    """No CPU supports it, and no GPU is listed without a result that shows it to be faster."""
    x, weight = rand(1, 32, 8, 8).half().contiguous(memory_format=LAST), rand(16, 32, 3, 3)
    assert tensor_core_layer.FASTER_ON == ()
    assert not tensor_core_layer.supports(x, weight)
    with plan.forced("tensor_core_layer"):
        found = candidates(x, weight)
        assert "tensor_core_layer" not in found.names + found.others


@on_gpu[0]
@on_gpu[1]
@by_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_forced_on_a_gpu(dtype, case):
    x, weight, styles, kwargs, exact = layer_of(case, dtype, "cuda")
    with torch.no_grad(), plan.forced("tensor_core_layer"):
        resampling = Resampling(kwargs["up"], 1, case[2], kwargs["resample_filter"])
        found = candidates(x, weight, resampling, Epilogue(act="lrelu"), kwargs["noise"])
        assert "tensor_core_layer" in found.others
        check(modulated_conv2d(x, weight, styles, **kwargs), exact, dtype)
