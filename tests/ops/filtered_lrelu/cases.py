# SPDX-License-Identifier: Apache-2.0
"""Cases of filtered_lrelu: its formula, filters, geometries, the op itself and its mask."""

import random
from typing import NamedTuple

import torch
from support.checks import LAYOUTS, rand

from stylegan_ops import backend, filtered_lrelu
from stylegan_ops.ops.filtered_lrelu import GAIN, mid_size
from stylegan_ops.ops.upfirdn2d import upfirdn2d, upfirdn2d_ref
from stylegan_ops.runtime.images import filter_size, memory_format

TOLERANCE = 1.5e-6  # of a norm, for results in float32; found: 5e-7
MARGIN = 3e-6  # samples of u in float32 may be on the other side of what is nearer
OP = torch.ops.stylegan_ops.filtered_lrelu


def taps(*shape, seed=0, symmetric=False):
    """float32, neither separable nor symmetric (or along y); u keeps the size of x roughly."""
    f = rand(*shape, seed=seed).float()
    f = f + f.flip(0) if symmetric else f
    return f / f.norm() / 2 ** (len(shape) / 2)


F12, F24, F12X12, ODD = taps(12), taps(24), taps(12, 12), dict(fu=taps(7), fd=taps(3, 4))
LAYERS = {  # of networks, for which CUDA has a kernel of its own
    "up 2 down 2": dict(fu=F12, fd=F12, up=2, down=2, padding=[9, 8, 9, 8], clamp=0.8),
    "up 4 down 2": dict(fu=F24, fd=F12, up=4, down=2, padding=[-6, -9, -6, -9], clamp=0.8),
    "up 2 radial": dict(fu=F12, fd=F12X12, up=2, down=2, padding=[9, 8, 10, 7]),
    "up 4 radial": dict(fu=F24, fd=F12X12, up=4, down=2, padding=[18, 19, 16, 17], slope=0.0),
}
OTHERS = {
    "no filters": dict(gain=1.0, clamp=0.8),
    "up 2 down 4": dict(fu=F12, fd=F24, up=2, down=4, padding=[12] * 4, flip_filter=True),
    "odd": dict(**ODD, up=2, down=1, padding=[3, 5, -1, 6], slope=-0.3, clamp=1.0),
    "odd down": dict(**ODD, up=1, down=4, padding=[7, 5, 4, 6], slope=0.0),
    "longest": dict(fu=taps(32), fd=taps(9, 32), up=4, down=2, padding=[33] * 4, clamp=0.5),
    "symmetric": dict(fu=F24, fd=taps(12, 12, symmetric=True), up=4, down=2, padding=[20] * 4),
    "windows": dict(fu=taps(3, 4), fd=taps(5, 2), up=2, padding=[3, 4, 5, 2], flip_filter=True),
    "down": dict(fd=F24, down=4, padding=[12, 11, 10, 13], slope=0.0, clamp=0.5),
}
DEFAULTS = dict(fu=None, fd=None, up=1, down=1, padding=[0] * 4, gain=GAIN, slope=0.2, clamp=None)
DEFAULTS |= {"flip_filter": False}


def moved(kwargs, device):
    """Arguments with their tensors on a device."""
    return {k: v.to(device) if torch.is_tensor(v) else v for k, v in kwargs.items()}


class Geometry(NamedTuple):
    """x's shape and layout, and what `filtered_lrelu` is called with besides x and b."""

    shape: tuple
    layout: torch.memory_format
    kwargs: dict
    b: bool
    seed: int = 0

    def size(self):
        """[H, W] between the filters."""
        x = torch.empty(1, 1, *self.shape[2:])
        return mid_size(x, self.kwargs["fu"], self.kwargs["up"], self.kwargs["padding"])

    def inputs(self):
        """x and b (or None) in float32; no sample of u is at an edge of the activation."""
        for seed in range(self.seed, self.seed + 100):
            x = rand(*self.shape, seed=seed).float().to(memory_format=self.layout)
            b = rand(self.shape[1], seed=seed).float() if self.b else None
            u = between(x.double(), b, **self.kwargs).abs()
            size = {k: f.abs() for k, f in self.kwargs.items() if k == "fu" and f is not None}
            size = (
                between(x.double().abs(), None if b is None else b.abs(), **self.kwargs | size)
                * 1e-6
            )
            edge = (self.kwargs["clamp"] or 0) / abs(self.kwargs["gain"] or 1)
            edges = [0, edge, edge / (abs(self.kwargs["slope"]) or 1)]
            if not any(((u - e).abs() < size).any() for e in edges):
                return x, b
        raise AssertionError("no inputs without a sample at an edge")


def between(x, b, fu, up, padding, flip_filter, run=upfirdn2d_ref, **_):
    """u, the image between the filters before the activation."""
    x = x if b is None else x + b.to(x.dtype)[:, None, None]
    return run(x, fu, up, 1, padding, flip_filter, up**2)


def random_filter(rng, most):
    kind, k = rng.choice(["none", "1d", "1d", "2d", "symmetric"]), rng.randint(1, most)
    k = rng.choice([k, k, 6, 12, 24]) if most == 32 else k
    if kind == "none":
        return None
    shape = (k,) if kind == "1d" else (k, rng.randint(1, most))
    return taps(*shape, seed=rng.randrange(1 << 20), symmetric=kind == "symmetric")


def random_geometry(seed, work=1e6):
    """`work`: multiplications, roughly."""
    rng = random.Random(seed)
    while True:
        up, down, most = rng.choice([1, 2, 4]), rng.choice([1, 2, 4]), rng.choice([4, 12, 32])
        fu, fd = random_filter(rng, most), random_filter(rng, most)
        n, c = rng.choice([(1, 1), (2, 3), (1, 16), (1, 20), (3, 1), (1, 33), (2, 16), (3, 20)])
        h, w = rng.randint(1, 60), rng.randint(1, 60)
        padding = [rng.randint(-3, 20) for _ in range(4)]
        padding = [max(p, 1 - s) for p, s in zip(padding, (w, w, h, h))]
        kwargs = dict(fu=fu, fd=fd, up=up, down=down, padding=padding)
        kwargs |= dict(gain=rng.choice([GAIN, 1.0, -0.7]), slope=rng.choice([0.2, 0.2, 0.0, 1.3]))
        kwargs |= dict(clamp=rng.choice([None, 0.8]), flip_filter=rng.random() < 0.5)
        layout = rng.choice(LAYOUTS)
        g = Geometry((n, c, h, w), layout, kwargs, rng.random() < 0.7, seed)
        (mh, mw), (kw, kh) = g.size(), filter_size(fd)
        products = sum(f.numel() for f in (fu, fd) if f is not None) + 10
        if mh >= kh and mw >= kw and n * c * mh * mw * products < work:
            return g


def derivatives(x, b, choice="auto", **kwargs):
    """y, dx, db, and the derivative by dy of something of dx and db, by a backend."""
    leaves = [t.detach().requires_grad_() for t in (x, b) if t is not None]
    with backend(choice):
        y = filtered_lrelu(leaves[0], b=leaves[1] if b is not None else None, **kwargs)
        dy = rand(*y.shape, seed=3).to(y).contiguous(memory_format=memory_format(y))
        grads = torch.autograd.grad(y, leaves, dy.requires_grad_(), create_graph=True)
        total = sum((g * rand(*g.shape, seed=5).to(g)).sum() for g in grads)
        return y, *grads, *torch.autograd.grad(total, dy)


def check_near(ours, exact, about="", tolerance=TOLERANCE):
    """By norms; of a vector (db) by that of the image before it, from the sum of which it comes."""
    size = 0.0
    for i, (value, expected) in enumerate(zip(ours, exact, strict=True)):
        value, expected = value.detach().double(), expected.detach().double()
        assert value.shape == expected.shape
        size = max(expected.norm(), size if expected.ndim == 1 else 0.0)
        error = (value - expected).norm() / max(size, 1e-30)
        assert error <= tolerance, f"{about}: result {i} has an error of {error:.3g}"


def op_arguments(x, b, mask=None, write=False, **kwargs):
    """Of the op itself, as `filtered_lrelu` of `kwargs` has it."""
    k = {"gain": GAIN, "slope": 0.2, "clamp": None, "flip_filter": False, **kwargs}
    x0, _, y0, _ = k["padding"]
    mid = mid_size(x, k["fu"], k["up"], k["padding"])
    kw, kh = filter_size(k["fd"])
    size = [(mid[0] - kh) // k["down"] + 1, (mid[1] - kw) // k["down"] + 1]
    flips, clamp = [k["flip_filter"]] * 2, -1.0 if k["clamp"] is None else float(k["clamp"])
    slopes = float(k["slope"] * k["gain"]), float(k["gain"])
    given = (x, k["fu"], k["fd"], b, mask, k["up"], k["down"], [x0, y0], [0, 0], mid, size)
    return *given, *flips, float(k["up"] ** 2), 1.0, *slopes, clamp, write


def transposed(args, x, mask):
    """Arguments of the adjoint of the op with that mask, applied to dy."""
    _, fu, fd, _, _, up, down, uo, do, mid, _, uf, df, ug, dg, *slopes, _ = args
    origins = [[k - 1 - o for k, o in zip(filter_size(f), by)] for f, by in ((fd, do), (fu, uo))]
    factors = (down, up, *origins, mid, list(x.shape[2:]), not df, not uf, dg, ug)
    return lambda dy: (dy, fd, fu, None, mask, *factors, *slopes, False)


def bits_of(mask, channels, width, last):
    """u > 0 and inside the clamp, [N, C, H, W] each, of a mask of the op."""
    octets = mask.contiguous().view(torch.uint8).unflatten(-1, (-1, 4))
    bits = (octets[..., None] >> torch.arange(8, dtype=torch.uint8)) & 1
    planes = []
    for part in (bits[..., :2, :], bits[..., 2:, :]):
        part = part.flatten(-3)[..., : channels if last else width].bool()
        planes.append(part.permute(0, 3, 1, 2) if last else part)
    return planes


def random_mask(x, mid, seed=0):
    """int32 words of random bits, of an image of x's layout and mid's size."""
    (n, c), last = x.shape[:2], memory_format(x) == torch.channels_last
    shape = (n, *mid, (c + 15) // 16) if last else (n, c, mid[0], (mid[1] + 15) // 16)
    rng = torch.Generator().manual_seed(seed)
    words = torch.randint(-(1 << 31), 1 << 31, shape, generator=rng, dtype=torch.int64)
    return words.to(torch.int32)


def masked_ref(x, b, mask, run=upfirdn2d_ref, **kwargs):
    """The op with that mask, in the dtype of x."""
    u = between(x, b, run=run, **kwargs)
    last = memory_format(x) == torch.channels_last
    above, passes = bits_of(mask, x.shape[1], u.shape[3], last)
    v = u * torch.where(above, 1.0, kwargs["slope"]).to(u) * kwargs["gain"]
    v = v if kwargs["clamp"] is None else v * passes
    return run(v, kwargs["fd"], 1, kwargs["down"], 0, kwargs["flip_filter"])


def native_filter(*args):
    """upfirdn2d, not by its reference: of large images."""
    with backend("native"):
        return upfirdn2d(*args)
