# SPDX-License-Identifier: Apache-2.0
"""The synthesis network of StyleGAN3, T (translation) and R (translation and rotation).

Source: Karras et al. 2021 (arXiv:2106.12423), section 3 and appendix C. Parameters and buffers have
the names of the public checkpoints.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn as nn

from stylegan.config import Stylegan3Config
from stylegan.config.numbers import as_float
from stylegan.errors import UserError
from stylegan.models.fold import Constant, fold_modulated
from stylegan.models.layers import EqualLinear, check_ws, from_cpu, weight_words
from stylegan.models.precision import (
    block_dtype,
    block_format,
    network_precision,
    own_precision,
    wide,
    wide_dtype,
)
from stylegan.models.stylegan3_filters import Band, Geometry, geometry
from stylegan.words import shown
from stylegan_ops import filtered_lrelu, modulated_conv2d


class Synthesis(nn.Module):
    """ws [N, num_ws, w_dim] -> images [N, channels, H, W]."""

    def __init__(self, config: Stylegan3Config) -> None:
        super().__init__()
        self.w_dim, self.num_ws = config.w_dim, config.num_layers + 2
        self.output_scale = config.output_scale
        layers = geometry(config)
        self.input = FourierInput(layers[0].before, config.w_dim)
        self.layer_names = [g.name for g in layers]
        for g in layers:
            self.add_module(g.name, (ToRGB if g.torgb else SynthesisLayer)(g, config))

    @own_precision
    def forward(
        self,
        ws: torch.Tensor,
        noise_mode: str = "const",
        generator: torch.Generator | None = None,
        update_emas: bool = False,
    ) -> torch.Tensor:
        """Images of ws.

        Args:
            ws: [N, num_ws, w_dim].
            noise_mode, generator: no effect; there are no noise inputs.
            update_emas: update the running means of magnitudes, as training does once for every
                image that D sees.
        Returns: [N, channels, H, W] float32; float64 if the weights are.
        Raises: ValueError if ws does not fit.
        """
        check_ws(ws, self.num_ws, self.w_dim, noise_mode)
        first, *rest = ws.to(wide_dtype(self.input.weight)).unbind(dim=1)
        x = self.input(first)
        for name, w in zip(self.layer_names, rest):
            x = getattr(self, name)(x, w, update_emas)
        return wide(x) * self.output_scale


class FourierInput(nn.Module):
    """x = sin(2 pi (freqs . M p + phases)) W^T at the points p of a grid, with M the motion that w
    gives, then `transform`.

    Source: arXiv:2106.12423, section 3.1 and appendix F.

    Args:
        band: of the result.
        w_dim: width of w.
    """

    freqs: torch.Tensor
    phases: torch.Tensor
    transform: torch.Tensor

    def __init__(self, band: Band, w_dim: int) -> None:
        super().__init__()
        self.cutoff, self.rate, self.size = band.cutoff, band.rate, band.size
        c = band.channels
        self.weight = nn.Parameter(torch.randn(c, c))
        self.affine = EqualLinear(w_dim, 4)
        with torch.no_grad():  # no motion at first
            self.affine.weight.zero_()
            self.affine.bias.copy_(torch.tensor([1.0, 0, 0, 0]))
        self.register_buffer("freqs", from_cpu(lambda: on_disc(c, band.cutoff)))
        self.register_buffer("phases", from_cpu(lambda: torch.rand(c) - 0.5))
        self.register_buffer("transform", from_cpu(lambda: torch.eye(3)))  # of `make_transform`
        self.folded: Constant[torch.Tensor] | None = None

    def forward(self, w: torch.Tensor) -> torch.Tensor:
        """w [N, w_dim] -> [N, C, size, size] in the dtype of w, channels_last."""
        t = self.affine(w)
        transform, freqs = self.transform.to(w.dtype), self.freqs.to(w.dtype)
        t = t / t[:, :2].norm(dim=1, keepdim=True)
        cos, sin, shift = t[:, 0], t[:, 1], t[:, 2:]
        turn = torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)
        moved = turn @ (transform[:2, 2] - shift)[:, :, None]  # [N, 2, 1]
        turn = turn @ transform[:2, :2]
        phases = self.phases.to(w.dtype) + (freqs @ moved)[:, :, 0]  # [N, C]
        freqs = freqs @ turn  # [N, C, 2]
        # Frequencies that the transform moves out of the band fade out before they would alias.
        beyond = (freqs.norm(dim=2) - self.cutoff) / (self.rate / 2 - self.cutoff)
        amplitudes = (1 - beyond).clamp(0, 1)
        x = torch.baddbmm(phases[:, None], self._grid(w).expand(len(w), -1, -1), freqs.mT)
        x = (x * (2 * math.pi)).sin() * amplitudes[:, None]
        weight = self.folded.get(self.weight) if self.folded else None
        x = x @ (self.effective() if weight is None else weight)
        return x.view(-1, self.size, self.size, x.shape[2]).permute(0, 3, 1, 2)

    def _grid(self, w: torch.Tensor) -> torch.Tensor:
        """[size * size, 2]: x and y of the samples; the image spans -0.5 to 0.5."""
        at = torch.arange(self.size, device=w.device, dtype=w.dtype)
        at = (at - (self.size - 1) / 2) / self.rate
        y, x = torch.meshgrid(at, at, indexing="ij")
        return torch.stack([x.flatten(), y.flatten()], dim=1)

    def effective(self) -> torch.Tensor:
        """The weight, scaled and transposed."""
        return wide(self.weight).mT / math.sqrt(len(self.weight))

    def fold(self, dtype: torch.dtype) -> None:
        """See `fold_constants`."""
        self.folded = Constant(self.effective(), self.weight)

    def dtype_on(self, device: torch.device) -> torch.dtype:
        """The dtype in which it runs."""
        return wide_dtype(self.weight)

    def image_bytes(self, device: torch.device) -> int:
        """Bytes of its largest tensor for one image."""
        return 4 * len(self.weight) * self.size**2


def on_disc(n: int, radius: float) -> torch.Tensor:
    """[n, 2]: points drawn uniformly from a disc."""
    angle, distance = 2 * math.pi * torch.rand(n), radius * torch.rand(n).sqrt()
    return torch.stack([angle.cos(), angle.sin()], dim=1) * distance[:, None]


class SynthesisLayer(nn.Module):
    """Modulated convolution, then a leaky ReLU on a finer grid, filtered before and after.

    Args:
        geometry: its bands and factors.
        config: of the network.
    """

    magnitude_ema: torch.Tensor
    up_filter: torch.Tensor
    down_filter: torch.Tensor

    def __init__(self, geometry: Geometry, config: Stylegan3Config) -> None:
        super().__init__()
        g = self.geometry = geometry
        self.clamp, self.precision = config.conv_clamp, network_precision(config)
        rate, resolution = g.after.rate, config.resolution[0]
        self.low_precision = rate << config.low_precision_blocks > resolution
        self.half_life = config.magnitude_ema_kimg * 1000
        self.up, self.down, self.padding = g.up, g.down, [*g.padding, *g.padding]
        self.affine = EqualLinear(config.w_dim, g.before.channels, bias_init=1)
        shape = g.after.channels, g.before.channels, g.kernel, g.kernel
        self.weight = nn.Parameter(torch.randn(shape))
        self.bias = nn.Parameter(torch.zeros(g.after.channels))
        self.register_buffer("magnitude_ema", torch.ones(1))  # of the mean of x^2
        if not g.torgb:
            up_filter, down_filter = g.filters()
            self.register_buffer("up_filter", up_filter)
            self.register_buffer("down_filter", down_filter)
        self.folded: Constant[Any] | None = None
        self.folded_gain: Constant[torch.Tensor] | None = None

    def extra_repr(self) -> str:
        return weight_words(self.weight, self.up, self.down)

    def forward(self, x: torch.Tensor, w: torch.Tensor, update_emas: bool = False) -> torch.Tensor:
        """x [N, I, H, W], w [N, w_dim] -> [N, O, H', W'], in `dtype_on` the device."""
        x = self._input(x, update_emas)
        folded = self.folded.get(self.weight) if self.folded else None
        styles = self.affine(w)
        x = modulated_conv2d(
            x,
            self.normalized() if folded is None else folded,
            styles * styles.square().mean(dim=1, keepdim=True).rsqrt(),
            padding=self.geometry.kernel - 1,
            input_gain=self._gain(),
        )
        return filtered_lrelu(
            x,
            self.up_filter,
            self.down_filter,
            wide(self.bias),
            self.up,
            self.down,
            self.padding,
            clamp=self.clamp,
        )

    def _input(self, x: torch.Tensor, update_emas: bool) -> torch.Tensor:
        """x in the layer's dtype and layout. With `update_emas` its magnitude counts."""
        dtype = self.dtype_on(x.device)
        x = x.to(dtype=dtype, memory_format=block_format(x.device, dtype))
        if update_emas:
            with torch.no_grad():
                beta = 0.5 ** (x.shape[0] / self.half_life)
                now = wide(x).square().mean().to(self.magnitude_ema.dtype)
                # A mean that is not finite would never recover.
                now = torch.where(now.isfinite(), now, self.magnitude_ema)
                self.magnitude_ema.lerp_(now, 1 - beta)
        return x

    def _gain(self) -> torch.Tensor:
        """The factor that gives x unit mean square."""
        gain = self.folded_gain.get(self.magnitude_ema) if self.folded_gain else None
        return wide(self.magnitude_ema).rsqrt() if gain is None else gain

    def normalized(self) -> torch.Tensor:
        """The weight with unit mean square for every channel of the result."""
        weight = wide(self.weight)
        return weight * weight.square().mean(dim=[1, 2, 3], keepdim=True).rsqrt()

    def fold(self, dtype: torch.dtype) -> None:
        """See `fold_constants`."""
        g = self.geometry
        size = [g.before.size] * 2
        fold_modulated(self, dtype, self.normalized, size=size, padding=g.kernel - 1)
        self.folded_gain = Constant(wide(self.magnitude_ema).rsqrt(), self.magnitude_ema)

    def dtype_on(self, device: torch.device) -> torch.dtype:
        """The dtype in which it runs."""
        return block_dtype(device, self.low_precision, self.precision, self.weight)

    def image_bytes(self, device: torch.device) -> int:
        """Bytes of its largest tensor for one image. The one on the finer grid counts half: fused
        kernels do not have it, others have two."""
        g = self.geometry
        features = max(g.before.channels * g.before.size**2, g.after.channels * g.after.size**2)
        fine = g.after.channels * (g.after.size * g.down) ** 2
        weights = 4 * self.weight.numel()
        return max(features, fine // 2) * self.dtype_on(device).itemsize + weights


class ToRGB(SynthesisLayer):
    """Modulated 1x1 convolution to image channels, without demodulation or nonlinearity."""

    def forward(self, x: torch.Tensor, w: torch.Tensor, update_emas: bool = False) -> torch.Tensor:
        x = self._input(x, update_emas)
        folded = self.folded.get(self.weight) if self.folded else None
        return modulated_conv2d(
            x,
            wide(self.weight) if folded is None else folded,
            self.affine(w) / math.sqrt(self.weight.shape[1]),
            demodulate=False,
            bias=wide(self.bias),
            clamp=self.clamp,
            input_gain=self._gain(),
        )

    def fold(self, dtype: torch.dtype) -> None:
        """See `fold_constants`."""
        fold_modulated(self, dtype)
        self.folded_gain = Constant(wide(self.magnitude_ema).rsqrt(), self.magnitude_ema)


def make_transform(translate: tuple[float, float] = (0.0, 0.0), angle: float = 0.0) -> torch.Tensor:
    """The matrix M for `G.synthesis.input.transform` that moves the picture: out(p) = in(M p).

    The picture is turned about its middle by `angle`, then moved by `translate`. M is the inverse
    of that. Set it with `G.synthesis.input.transform.copy_(M)`.

    Args:
        translate: (x, y) in widths of the image; positive x moves to the right, positive y down.
        angle: degrees, counter-clockwise.
    Returns: [3, 3] float64, on the CPU.
    Raises: UserError unless they are finite numbers.
    """
    try:
        x, y = (as_float(t) for t in translate)
    except (TypeError, ValueError) as e:
        raise UserError("translate", f"expected two numbers (x, y), got {shown(translate)}") from e
    try:
        angle = as_float(angle)
    except (TypeError, ValueError) as e:
        raise UserError("angle", f"expected a finite number, got {shown(angle)}") from e
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    rows = [cos, -sin, sin * y - cos * x], [sin, cos, -sin * x - cos * y], [0, 0, 1]
    return torch.tensor(rows, dtype=torch.float64, device="cpu")
