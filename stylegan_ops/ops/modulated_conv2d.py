# SPDX-License-Identifier: Apache-2.0
"""The layer of StyleGAN2: modulated convolution, noise, bias, activation, clamp."""

from __future__ import annotations

import torch

from stylegan_ops.layer.choose import Choice, choose
from stylegan_ops.layer.fold import EPS
from stylegan_ops.layer.records import Epilogue, FoldedWeight, Layer, Resampling
from stylegan_ops.layer.scale_act import scale_act_ref
from stylegan_ops.layer.strategies import STRATEGIES
from stylegan_ops.ops.bias_act import check_arguments, numbers
from stylegan_ops.ops.conv2d_resample import check_factors, conv2d_resample_ref
from stylegan_ops.runtime import dispatch, plan
from stylegan_ops.runtime.autocast import without_autocast
from stylegan_ops.runtime.images import Filter, Padding, accumulator, memory_format, pad4

OP = dispatch.declare(
    "modulated_conv2d",
    parts=("upfirdn2d", "scale_act", "fir_act", "winograd", "tensor_core_layer", "weight_grad"),
)


@without_autocast("x")
def modulated_conv2d(
    x: torch.Tensor,
    weight: torch.Tensor | FoldedWeight,
    styles: torch.Tensor,
    noise: torch.Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: Padding = 0,
    resample_filter: Filter = None,
    demodulate: bool = True,
    flip_weight: bool = True,
    bias: torch.Tensor | None = None,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    input_gain: torch.Tensor | None = None,
) -> torch.Tensor:
    """y[n] = bias_act(w[n] * x[n] + noise, bias), w[n,o,i] = weight[o,i] * styles[n,i], unit norm
    per (n, o).

    Args:
        x: [N, I, H, W], any floating dtype; contiguous or channels_last.
        weight: [O, I, kh, kw], shared by the samples; float32, or the dtype of x. Or what
            `fold_weight` made of one that does not change any more.
        styles: [N, I]; float32, or the dtype of x.
        noise: [N, 1, H', W'] or [1, 1, H', W'] (anything that broadcasts), added before the bias;
            or None.
        up, down, padding, resample_filter, flip_weight: as `conv2d_resample` (there called f).
        demodulate: scale w[n,o] by rsqrt(sum of squares + 1e-8).
        bias: [O] or None.
        act, alpha, gain, clamp: as `bias_act`.
        input_gain: [] or [1], factor on x that demodulation does not cancel; float32, or the dtype
            of x; or None.
    Returns: [N, O, H', W']; dtype and layout of x; twice differentiable in x, weight, styles,
        noise, bias. Scales are computed in float32 (float64 for float64); float16 does not overflow
        however large weight and styles are, as long as the result fits.
    Raises: ValueError if the shapes do not fit.
    Source: Karras et al. 2020 (arXiv:1912.04958), section 2.2, equations 1-3.
    """
    folded = weight if isinstance(weight, FoldedWeight) else None
    weight = weight.weight if isinstance(weight, FoldedWeight) else weight
    _check(x, weight, styles, bias, input_gain)
    up, down = check_factors(OP, up, down)
    check_arguments(x, None, 1, act, clamp, OP)
    alpha, gain, clamp = numbers(alpha, gain, clamp, OP)
    resampling = Resampling(up, down, pad4(padding, OP), resample_filter, flip_weight)
    epilogue = Epilogue(bias, act, alpha, gain, clamp)
    layer = _layer(x, weight, folded, styles, demodulate, resampling, noise, epilogue, input_gain)
    if dispatch.mode() == "reference":
        return _by_reference(x, layer)
    return _run(choose(OP, x, layer), x, layer)


def _layer(
    x: torch.Tensor,
    weight: torch.Tensor,
    folded: FoldedWeight | None,
    styles: torch.Tensor,
    demodulate: bool,
    resampling: Resampling,
    noise: torch.Tensor | None,
    epilogue: Epilogue,
    input_gain: torch.Tensor | None,
) -> Layer:
    """A layer without demodulation has the gain of its input in the styles."""
    if input_gain is not None:
        input_gain = input_gain.reshape(())
        if not demodulate:
            styles, input_gain = styles * input_gain, None
    given = x, weight, styles, noise, epilogue.bias, input_gain
    layout = None if dispatch.transformed(*given) else memory_format(x)
    return Layer(
        weight, folded, styles, demodulate, resampling, noise, epilogue, layout, input_gain
    )


def _run(choice: Choice, x: torch.Tensor, layer: Layer) -> torch.Tensor:
    """Run the strategy that was chosen, or the fastest one."""
    if choice.strategy is not None:
        return STRATEGIES[choice.strategy](x, layer)
    shape = (
        ("x", tuple(x.shape)),
        ("weight", tuple(layer.weight.shape)),
        ("up", layer.resampling.up),
        ("down", layer.resampling.down),
        ("dtype", str(x.dtype).removeprefix("torch.")),
        ("channels_last", layer.layout == torch.channels_last),
        ("folded", layer.folded is not None),
    )
    return plan.run_fastest(
        OP, shape, choice.candidates, x.device, lambda name: STRATEGIES[name](x, layer)
    )


def _by_reference(x: torch.Tensor, layer: Layer) -> torch.Tensor:
    r, end = layer.resampling, layer.epilogue
    y = modulated_conv2d_ref(
        *(x, layer.weight, layer.styles, layer.noise, r.up, r.down, r.padding, r.f),
        *(layer.demodulate, r.flip_weight, end.bias, end.act, end.alpha, end.gain, end.clamp),
        layer.input_gain,
    )
    return y if layer.layout is None else y.contiguous(memory_format=layer.layout)


def _check(
    x: torch.Tensor,
    weight: torch.Tensor,
    styles: torch.Tensor,
    bias: torch.Tensor | None,
    input_gain: torch.Tensor | None,
) -> None:
    """Raises ValueError if the shapes do not fit."""
    if x.ndim != 4 or weight.ndim != 4 or x.shape[1] != weight.shape[1]:
        raise ValueError(
            f"{OP}: weight must be [O, I, kh, kw] for x [N, I, H, W]; got "
            f"{list(weight.shape)} and x {list(x.shape)}"
        )
    if styles.shape != x.shape[:2]:
        raise ValueError(f"{OP}: styles must be {list(x.shape[:2])}, got {list(styles.shape)}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"{OP}: bias must be {list(weight.shape[:1])}, got {list(bias.shape)}")
    if input_gain is not None and input_gain.numel() != 1:
        raise ValueError(f"{OP}: input_gain must be one number, got {list(input_gain.shape)}")


def modulated_conv2d_ref(
    x: torch.Tensor,
    weight: torch.Tensor,
    styles: torch.Tensor,
    noise: torch.Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: Padding = 0,
    resample_filter: Filter = None,
    demodulate: bool = True,
    flip_weight: bool = True,
    bias: torch.Tensor | None = None,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    input_gain: torch.Tensor | None = None,
) -> torch.Tensor:
    """The definition of `modulated_conv2d` in plain PyTorch: weights of its own for every sample.
    float16 is convolved in float32, which large weights do not overflow."""
    n, wide = x.shape[0], accumulator(x)
    w = weight.to(wide)[None] * styles.to(wide)[:, None, :, None, None]
    if demodulate:
        w = w * (w.square().sum(dim=[2, 3, 4], keepdim=True) + EPS).rsqrt()
    if input_gain is not None:
        w = w * input_gain.reshape(())
    dtype = wide if x.dtype == torch.float16 else x.dtype
    if n == 0:  # there is no convolution in 0 groups
        w, grouped = weight.to(dtype), x.to(dtype)
    else:
        w = w.to(dtype).reshape(-1, *weight.shape[1:])
        grouped = x.to(dtype).reshape(1, -1, *x.shape[2:])
    y = conv2d_resample_ref(grouped, w, resample_filter, up, down, padding, max(n, 1), flip_weight)
    y = y.reshape(n, weight.shape[0], *y.shape[2:]).to(x.dtype)
    return scale_act_ref(y, None, noise, bias, act, alpha, gain, clamp)
