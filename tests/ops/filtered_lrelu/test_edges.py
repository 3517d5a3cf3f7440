# SPDX-License-Identifier: Apache-2.0
"""Calls of filtered_lrelu at the edges of what it takes."""

import pytest
import torch
from support.checks import rand
from support.native import BACKENDS, needs_native

from stylegan_ops import backend, filtered_lrelu, modulated_conv2d, setup_filter
from stylegan_ops.ops.filtered_lrelu import filtered_lrelu_ref
from stylegan_ops.ops.modulated_conv2d import modulated_conv2d_ref

LINE = setup_filter(range(1, 13))


@needs_native
@pytest.mark.parametrize("channels", [3, 16])
def test_one_pixel_in_channels_last(channels):
    """It does not tell a layout, nor does its gradient: also where both masks have one shape."""
    x = rand(2, channels, 7, 7).float().contiguous(memory_format=torch.channels_last)
    grads = []
    for run in (filtered_lrelu, filtered_lrelu_ref):
        leaf = x.clone().requires_grad_()
        y = run(leaf, LINE, LINE, up=2, down=2, padding=5)
        assert y.shape[2:] == (1, 1)
        (first,) = torch.autograd.grad(y.sin().sum(), leaf, create_graph=True)
        grads += [first, torch.autograd.grad(first.square().sum(), leaf)[0]]
    torch.testing.assert_close(grads[:2], grads[2:])


@needs_native
def test_sums_for_the_bias_pass_what_float16_holds():
    x = torch.ones(4, 1, 64, 64, dtype=torch.float16)
    b = torch.zeros(1, requires_grad=True)
    y = filtered_lrelu(x, b=b, up=2, gain=8)
    (db,) = torch.autograd.grad(y, b, torch.ones_like(y))
    assert db.item() == 4 * 64 * 64 * 4 * 8


@pytest.mark.parametrize("name", BACKENDS)
def test_more_cropped_than_there_is(name):
    """On one side, with zeros added on the other."""
    x = rand(2, 3, 4, 7).float().requires_grad_()
    given = dict(up=2, padding=[-70, 90, 5, 5], gain=None)
    with backend(name):
        y = filtered_lrelu(x, LINE, b=torch.ones(3), **given)
        assert y.shape == (2, 3, 7, 23) and not y.any()
        assert not torch.autograd.grad(y.sum(), x)[0].any()


@needs_native
def test_an_image_of_no_rows():
    x = torch.zeros(2, 3, 0, 8, requires_grad=True)
    y = filtered_lrelu(x, LINE, padding=20)
    assert y.shape == (2, 3, 29, 37) and not y.any()
    assert torch.autograd.grad(y.sum(), x)[0].shape == x.shape


@needs_native
def test_without_data_what_the_fused_op_keeps_is_counted():
    """And what it does not serve goes by the reference."""
    kept = []
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t)
    x = torch.empty(1, 8, 64, 64, device="meta", requires_grad=True)
    with hooks:
        filtered_lrelu(x, LINE, LINE, up=2, down=2, padding=10)
    assert max(t.numel() for t in kept) < 8 * 128**2 / 4
    assert filtered_lrelu(x.double(), LINE, LINE, up=2, down=2, padding=10).is_meta


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("name", BACKENDS)
def test_a_gain_of_the_input_of_a_convolution(name, samples, demodulate):
    """Which demodulation does not cancel."""
    x, weight, styles = rand(samples, 4, 9, 9), rand(5, 4, 3, 3), rand(samples, 4)
    gain = torch.tensor([0.3], dtype=torch.float64)
    given = dict(padding=2, demodulate=demodulate)
    with backend(name):
        y = modulated_conv2d(x, weight, styles, input_gain=gain, **given)
        plain = modulated_conv2d(x, weight, styles, **given)
    torch.testing.assert_close(y, plain * 0.3)
    torch.testing.assert_close(
        modulated_conv2d_ref(x, weight, styles, input_gain=gain, **given), plain * 0.3
    )
    with pytest.raises(ValueError, match="input_gain must be one number"):
        modulated_conv2d(x, weight, styles, input_gain=styles)
