# SPDX-License-Identifier: Apache-2.0
"""The modulated layers of generators: their shapes, a layer with its tensors and passes, where the
time of a call goes, and the peak rate of a machine."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

import stylegan_ops
from harness.common import race_ms
from stylegan.config import preset
from stylegan.models.precision import block_format
from stylegan.models.sizes import block_resolutions, channels_of
from stylegan_ops import fold_weight

RGB = 3
PEAK_SHAPES = (512, 32), (256, 64), (128, 128), (64, 256)  # channels, px: large and compute bound
PRODUCTS = 4096, 8192  # sizes of square matrices


@dataclass(frozen=True)
class Shape:
    """One layer: conv0 (up 2), conv1 or torgb (1x1, not demodulated)."""

    kind: str
    c_in: int
    c_out: int
    size: int  # px of its input
    up: int = 1

    @property
    def name(self):
        return f"{self.size * self.up} {self.kind}"

    def gigabytes(self, batch, dtype):
        """The larger of input and output, in 10^9 bytes."""
        values = max(self.c_in, self.c_out * self.up**2) * self.size**2
        return batch * values * dtype.itemsize / 1e9

    def gflop(self, batch, name):
        """Multiplications and additions of the direct convolutions of a pass, in 10^9: one forward,
        two backward, by the pixels of x; None for "double", where they depend on the strategy."""
        taps = 1 if self.kind == "torgb" else 9
        one = 2 * taps * batch * self.c_in * self.c_out * self.size**2 / 1e9
        return {"forward": one, "backward": 2 * one}.get(name)


def layers(resolutions, low):
    """[(description, Shape)] of the networks of these resolutions from `low` px on, the largest
    first, each shape once."""
    networks = {}
    for resolution in resolutions:
        config = preset("auto", resolution=resolution).resolved().G
        for size in block_resolutions((resolution, resolution)):
            before, channels = channels_of(size // 2, config), channels_of(size, config)
            shapes = [Shape("conv1", channels, channels, size), Shape("torgb", channels, RGB, size)]
            if size > 4:
                shapes.insert(0, Shape("conv0", before, channels, size // 2, up=2))
            for shape in shapes if size >= low else ():
                networks.setdefault(shape, []).append(str(resolution))
    order = sorted(networks, key=lambda s: (-s.size * s.up, s.kind, -s.c_in))
    return [
        (
            {
                "layer": s.name,
                "network": "+".join(networks[s]),
                "channels": f"{s.c_in}-{s.c_out}",
                "size": s.size,
            },
            s,
        )
        for s in order
    ]


class Layer:
    """The tensors of a layer, and its passes.

    Args:
        noises: noise images, 1 or the batch.
        device: torch.device.
    """

    def __init__(self, shape, noises, batch, dtype, device):
        c_in, c_out, size, up = shape.c_in, shape.c_out, shape.size, shape.up
        self.name, self.up, k = shape.name, up, 1 if shape.kind == "torgb" else 3
        make = lambda *s: torch.randn(s, device=device)
        x = make(batch, c_in, size, size).to(dtype)
        self.x = x.to(memory_format=block_format(device, dtype)).requires_grad_()
        self.weight = make(c_out, c_in, k, k).requires_grad_()
        self.styles = torch.rand(batch, c_in, device=device).requires_grad_()
        self.bare_weight = self.weight.detach().to(dtype).requires_grad_()
        bias = torch.zeros(c_out, device=device, requires_grad=True)
        self.kwargs = {"padding": k // 2, "bias": bias, "clamp": 256}
        self.leaves = [self.x, self.weight, self.styles, bias]
        if k == 1:
            self.kwargs["demodulate"] = False
        else:
            noise = make(noises, 1, size * up, size * up).requires_grad_()
            self.kwargs |= {"noise": noise, "act": "lrelu", "up": up, "flip_weight": up == 1}
            self.leaves.append(noise)
        if up > 1:
            self.kwargs["resample_filter"] = stylegan_ops.setup_filter([1, 3, 3, 1]).to(device)

    def bare(self):
        """Only the convolution, without styles or demodulation."""
        if self.up == 1:
            return F.conv2d(self.x, self.bare_weight, padding=self.weight.shape[2] // 2)
        return F.conv_transpose2d(self.x, self.bare_weight.transpose(0, 1), stride=2)

    def folded(self):
        """The weight as a Pipeline folds it."""
        x, up = self.x, self.up
        layout = block_format(x.device, x.dtype)
        return fold_weight(self.weight, x.dtype, up, layout, x.shape[2:], flip_weight=up == 1)

    def passes(self, name, op, weight=None):
        """(run, setup) of a pass by `op`, which has the signature of modulated_conv2d or is
        `bare`. `weight` replaces that of the layer."""
        weight = self.weight if weight is None else weight
        if op == self.bare:
            forward, leaves = op, [self.x, self.bare_weight]
        else:
            forward, leaves = (
                lambda: op(self.x, weight, self.styles, **self.kwargs),
                self.leaves,
            )
        if name == "forward":
            return forward, None
        with torch.no_grad():
            dy = torch.randn_like(forward())
        grad = torch.autograd.grad
        if name == "backward":
            return lambda y: grad(y, leaves, dy), forward
        dy.requires_grad_()
        first = self.x, self.styles

        def setup():
            dx, d_styles = grad(forward(), first, dy, create_graph=True)
            return dx.float().square().sum() + d_styles.square().sum()

        return lambda z: grad(z, [dy, *leaves], allow_unused=True), setup


def shares(run, device):
    """{"fir", "around"}: % of the time inside ops, by the profiler, in the resampling filter and in
    everything that is neither filter nor convolution."""
    cuda = device.type == "cuda"
    run()
    with profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * cuda]) as p:
        for _ in range(3):
            run()
        if cuda:
            torch.cuda.synchronize()
    sums = dict.fromkeys(("fir", "conv", "around"), 0.0)
    for event in p.key_averages():
        if event.device_type != DeviceType.CPU:
            continue  # kernels, whose time already counts for the op that launched them
        us = event.self_device_time_total if cuda else event.self_cpu_time_total
        name = event.key.replace("modulated_conv2d", "")
        fir = "fir_act" in name or "upfirdn2d" in name
        conv = "conv" in name or name.endswith("::winograd")  # not the transform of weights
        sums["fir" if fir else "conv" if conv else "around"] += us
    whole = sum(sums.values()) or float("nan")
    return {kind: 100 * sums[kind] / whole for kind in ("fir", "around")}


def peak_gflops(device, dtype, repeats=9):
    """GFLOP/s of PyTorch's fastest large 3x3 convolution; on a GPU, of its fastest product of large
    matrices, in the precision of its convolutions."""
    cuda, runs, gflop = device.type == "cuda", {}, {}
    make = lambda *size: torch.randn(size, device=device).to(dtype)
    for k in PRODUCTS if cuda else ():
        a, b = make(k, k), make(k, k)
        runs[k], gflop[k] = (lambda a=a, b=b: a @ b, None), 2 * k**3 / 1e9
    for c, size in () if cuda else PEAK_SHAPES:
        x, w = make(1, c, size, size).to(memory_format=torch.channels_last), make(c, c, 3, 3)
        runs[c] = lambda x=x, w=w: F.conv2d(x, w, padding=1), None
        gflop[c] = Shape("conv1", c, c, size).gflop(1, "forward")
    products = torch.backends.cuda.matmul
    before = products.fp32_precision
    try:
        if cuda:
            products.fp32_precision = torch.backends.cudnn.conv.fp32_precision
        with torch.no_grad():
            ms = race_ms(runs, device, repeats)
    finally:
        if cuda:
            products.fp32_precision = before
    return max(gflop[k] / ms[k] * 1e3 for k in runs)
