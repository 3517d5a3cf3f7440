# SPDX-License-Identifier: Apache-2.0
"""How well a generator's pictures move with its input: EQ-T and EQ-R.

EQ = 10 log10(2^2 / mean((G(t(input)) - t(G(input)))^2)), in dB: the peak signal to noise ratio
between the picture of the moved input and the moved picture, for pictures in [-1, 1]. The mean is
over latents, motions t, channels and those pixels that both sides define.

What t does to a picture, x[n] on a grid of spacing 1, the values being samples of a band-limited
function. With k a windowed low-pass filter, t(x)(p) = sum_n x[n] k(t^-1 p - n), and a pixel counts
where no n lies outside the picture.

- eqt_int, translation by whole pixels: the pixels themselves, shifted. Exact.
- eqt_frac, translation by any amount: k(x, y) = s(x) s(y), s the ideal interpolator sinc times a
  Kaiser window. What the window costs within its transition band of Nyquist counts as error.
- eqr, rotation about the middle: a square of frequencies does not stay itself when it is turned,
  so the corners of a turned picture's band cannot be compared with anything. Both sides are
  restricted to the disc of frequencies that every rotation keeps: k is radial, J1(2 pi c r) c / r
  times a Kaiser window, with weights that sum to 1 and a cutoff c such that its stopband begins at
  the Nyquist frequency; and G(t(input)) is filtered with the same k. Since k favours no direction,
  to filter and turn is one step, and it is the same filter on both sides.

Source: Karras et al. 2021 (arXiv:2106.12423), section 2, equation 3, and appendix E.
"""

import contextlib
import math

import numpy as np
import torch
import torch.nn.functional as F

import stylegan_ops
from stylegan.errors import UserError
from stylegan.models.stylegan3 import make_transform

KINDS = ("eqt_int", "eqt_frac", "eqr")
MAX_SHIFT = 0.125  # of the image, along each axis
REACH = 16  # px that the filters reach to each side, a quarter of the image if that is less
SMALLEST = 32  # px; below it the filters would reach over most of the picture
ATTENUATION = 80  # dB in the stopband; errors of the resampling stay below it
POINTS = 1 << 15  # resampled at once, for which a row of the filter is in memory
TABLE = 1024  # values of the radial filter per px, interpolated: error below 1e-6


@torch.no_grad()
def equivariance(G, kinds=KINDS, samples=1000, batch=None, seed=0, psi=1, progress=None):
    """Equivariance of a StyleGAN3 generator; see above for what is measured.

    Args:
        G: a generator whose `synthesis.input.transform` [3, 3] moves its input (`make_transform`).
            It is evaluated in float32, and left as it was; not one that was folded in another
            precision (`fold_constants`).
        kinds: of eqt_int, eqt_frac (shifts uniform up to 1/8 of the image along each axis) and eqr
            (angles uniform on the circle).
        samples: latents, each with one motion of every kind.
        batch: pictures resampled at once; the result does not depend on it. None: by resolution.
        seed: of latents, motions and classes. Sample i is the same however many there are.
        psi: truncation.
        progress: function that is called with the number of samples done since its last call.
    Returns: {kind: dB}; inf where the pictures are equal.
    Raises: UserError for a generator whose input cannot be moved, or that is too small.
    """
    _check(G, kinds)
    size, device = G.config.resolution[0], next(G.parameters()).device
    batch = min(batch or max((1 << 16) // size**2, 1), samples)
    error, count = dict.fromkeys(kinds, 0.0), dict.fromkeys(kinds, 0)
    plan = "fixed" if device.type == "cpu" else "measure"  # as a Pipeline has it
    with _exact(G), stylegan_ops.planning(plan, unless_set=True):
        for start in range(0, samples, batch):
            draws = [_draw(G, seed, i) for i in range(start, min(start + batch, samples))]
            z, c, shifts, angles = (torch.tensor(np.stack(v)) for v in zip(*draws))
            c = c.to(device) if G.c_dim else None
            ws = G.mapping(z.float().to(device), c, psi)
            still = G.synthesis(ws).float()
            for kind in kinds:
                moved, expected, valid = _compare(G, ws, still, kind, shifts, angles)
                squares = (moved - expected).square().mean(dim=1) * valid
                error[kind] += sum(squares.sum(dim=(1, 2)).tolist())
                count[kind] += int(valid.sum())
            if progress:
                progress(len(draws))
    mse = {kind: error[kind] / count[kind] for kind in kinds}
    return {kind: -10 * math.log10(m / 4) if m else math.inf for kind, m in mse.items()}


def _compare(G, ws, still, kind, shifts, angles):
    """(G(t(input)), t(G(input)), valid) as [N, C, H, W], [N, C, H, W] and [N, H, W]."""
    size = still.shape[-1]
    if kind == "eqr":
        matrices = [make_transform(angle=float(a)) for a in angles]
        moved, expected = _moved(G, ws, matrices), rotate(still, angles)
        return lowpass(moved), *expected
    shifts = shifts * size  # px
    if kind == "eqt_int":
        shifts = shifts.round()
    matrices = [make_transform(translate=[float(v) / size for v in s]) for s in shifts]
    expected = (shift_whole if kind == "eqt_int" else shift)(still, shifts)
    return _moved(G, ws, matrices), *expected


def _moved(G, ws, matrices):
    """Pictures with a transform of each one's own."""
    transform, images = G.synthesis.input.transform, []
    before = transform.clone()
    try:
        for w, matrix in zip(ws, matrices):
            transform.copy_((before.cpu().double() @ matrix).float())
            images.append(G.synthesis(w[None]).float())
    finally:
        transform.copy_(before)
    return torch.cat(images)


def shift_whole(x, shifts):
    """Pictures shifted by whole pixels.

    Args:
        x: [N, C, H, W].
        shifts: [N, 2], (x, y) in px: to the right, down.
    Returns: [N, C, H, W]; [N, H, W], True where the picture is defined.
    """
    moved, valid = torch.zeros_like(x), torch.zeros_like(x[:, 0], dtype=torch.bool)
    height, width = x.shape[2:]
    for i, (dx, dy) in enumerate(shifts.int().tolist()):
        to = (_inside(dy, height), _inside(dx, width))
        moved[i, :, to[0], to[1]] = x[i, :, _inside(-dy, height), _inside(-dx, width)]
        valid[i, to[0], to[1]] = True
    return moved, valid


def shift(x, shifts):
    """Pictures shifted by any amount, by the Kaiser-windowed sinc; arguments and results as of
    `shift_whole`."""
    n, c, height, width = x.shape
    a = reach(height)
    taps, starts = torch.arange(-a, a + 1, dtype=torch.float64), shifts.double().floor()
    # Tap j stands at pixel p - floor(shift) + j: at a distance of j + fraction from where p was.
    at = taps + (shifts.double() - starts)[:, :, None]  # [N, 2, taps]
    kernel = (torch.sinc(at) * _window(at / a)).to(x.dtype).to(x.device)
    for axis in (3, 2):
        rows = [kernel.shape[2], 1] if axis == 2 else [1, kernel.shape[2]]
        weight = kernel[:, 3 - axis].reshape(n, 1, 1, *rows).expand(-1, c, -1, -1, -1)
        x = F.conv2d(
            x.reshape(1, n * c, height, width), weight.flatten(0, 1), padding="same", groups=n * c
        ).view(n, c, height, width)
    defined = torch.zeros_like(x)
    defined[:, :, a : height - a, a : width - a] = 1
    moved, valid = shift_whole(x, starts)
    return moved, valid & (shift_whole(defined, starts)[0][:, 0] > 0)


def rotate(x, angles):
    """Pictures turned about their middle and low-pass filtered, by the Kaiser-windowed jinc.

    Args:
        x: [N, C, H, W], square.
        angles: [N], degrees, counter-clockwise.
    Returns: [N, C, H, W]; [N, H, W], True where both a pixel and where it came from are at least
        the filter's reach away from the border.
    """
    n, c, height, width = x.shape
    a, middle = reach(height), (width - 1) / 2
    table = radial_filter(a).to(x.device)
    grid = torch.arange(width, dtype=torch.float64) - middle
    py, px = torch.meshgrid(grid, grid, indexing="ij")
    turn = torch.deg2rad(angles.double())[:, None, None]
    from_x = turn.cos() * px - turn.sin() * py  # y goes down
    from_y = turn.sin() * px + turn.cos() * py
    inside = middle - a + 1e-6
    at = torch.stack([px.abs().expand(n, -1, -1), py.abs().expand(n, -1, -1), from_x, from_y])
    valid = (at.abs() <= inside).all(dim=0)
    # Only these are computed, as one list over the batch.
    which, row, column = valid.nonzero(as_tuple=True)
    place = torch.stack([from_y[valid], from_x[valid]]) + middle
    corner = place.floor()
    offset = (place - corner).float().to(x.device)  # y and x
    start = (corner[0] * width + corner[1]).long() + which * height * width
    flat, start = x.transpose(0, 1).reshape(c, -1), start.to(x.device)
    result, taps = x.new_empty(c, len(start)), torch.arange(1 - a, a + 1, device=x.device)
    for first in range(0, len(start), POINTS):
        part = slice(first, first + POINTS)
        values = total = 0
        for j in taps.tolist():
            r = torch.hypot(offset[0, part] - j, offset[1, part] - taps[:, None]) * TABLE
            cell = r.long().clamp(max=len(table) - 2)
            weight = torch.lerp(table[cell], table[cell + 1], (r - cell).clamp(0, 1))
            pixels = (start[part] + j * width + taps[:, None]).clamp(0, flat.shape[1] - 1)
            values = values + (flat[:, pixels] * weight).sum(dim=1)
            total = total + weight.sum(dim=0)
        result[:, part] = values / total
    moved = torch.zeros_like(x)
    places = [v.to(x.device) for v in (which, row, column)]
    moved[places[0], :, places[1], places[2]] = result.mT
    return moved, valid.to(x.device)


def lowpass(x):
    """Pictures [N, C, H, W] filtered as `rotate` filters; zeros beyond the border."""
    a = reach(x.shape[3])
    at = torch.arange(-a, a + 1, dtype=torch.float64)
    kernel = _radial(torch.hypot(at[:, None], at), a)
    kernel = (kernel / kernel.sum()).to(x.dtype).to(x.device)
    return F.conv2d(x.flatten(0, 1)[:, None], kernel[None, None], padding="same").view(x.shape)


def reach(size):
    """Radius of the filters in px for pictures of `size` px."""
    return min(REACH, size // 4)


def radial_filter(a):
    """`_radial` at r = 0, 1/TABLE, ..., a px, and a 0 beyond; float32."""
    r = torch.arange(a * TABLE + 1, dtype=torch.float64) / TABLE
    return F.pad(_radial(r, a), (0, 1)).float()


def _radial(r, a):
    """The windowed jinc of reach a at distances r in px, float64, not normalised. Its cutoff is
    half a transition band below the Nyquist frequency of 0.5 cycles per px."""
    # Kaiser's rule for the width of the transition band, (A - 8) / (2.285 * 2 pi * (taps - 1)).
    transition = (ATTENUATION - 8) / (2.285 * 2 * math.pi * 2 * a)
    cutoff = 0.5 - transition / 2
    r = r.clamp(min=1e-9)  # where the quotient has its limit
    return cutoff * torch.special.bessel_j1(2 * math.pi * cutoff * r) / r * _window(r / a)


def _window(t):
    """Kaiser's window at t, 0 in the middle and 1 at the end."""
    beta = 0.1102 * (ATTENUATION - 8.7)
    inside = torch.special.i0(beta * (1 - t.square()).clamp(min=0).sqrt())
    return torch.where(t.abs() <= 1, inside / torch.special.i0(torch.tensor(beta)), 0)


def _inside(offset, size):
    """Of `size` places, those that are still there after moving by `offset`."""
    return slice(max(offset, 0), size + min(offset, 0))


def _draw(G, seed, i):
    """(z, c, shift in images, angle in degrees) of sample i."""
    rng = np.random.default_rng([seed, i])
    z = rng.standard_normal(G.z_dim)
    shift, angle = rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2), rng.uniform(0, 360)
    c = np.eye(G.c_dim, dtype=np.float32)[rng.integers(G.c_dim)] if G.c_dim else np.zeros(0)
    return z, c, shift, angle


def _check(G, kinds):
    if unknown := set(kinds) - set(KINDS):
        raise ValueError(f"kinds: expected of {', '.join(KINDS)}, got {', '.join(unknown)}")
    if not hasattr(getattr(G.synthesis, "input", None), "transform"):
        raise UserError(
            "equivariance", "expected a StyleGAN3 network; the input of this one cannot be moved"
        )
    height, width = G.config.resolution
    if height != width or height < SMALLEST:
        raise UserError(
            "equivariance",
            f"expected square pictures of {SMALLEST} px or more, got {width}x{height}",
        )


@contextlib.contextmanager
def _exact(G):
    """All layers in float32 without TF32: rounding in less counts as error of the network."""
    layers = [m for m in G.modules() if hasattr(m, "precision")]
    before, training = [m.precision for m in layers], G.training
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        G.eval()
        for m in layers:
            m.precision = "float32"
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        yield
    finally:
        for m, precision in zip(layers, before):
            m.precision = precision
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32
        G.train(training)
