# SPDX-License-Identifier: Apache-2.0
"""How well a generator's images move with its input: EQ-T and EQ-R.

EQ = 10 log10(2^2 / mean((G(t(input)) - t(G(input)))^2)), in dB: the peak signal-to-noise ratio
between the image of the moved input and the moved image, for images in [-1, 1]. The mean is over
latents, motions t, channels, and the pixels that are valid on both sides (see `resampling`).

- eqt_int, translation by whole pixels: exact.
- eqt_frac, translation by any amount, by a windowed sinc. The cost of the window, within its
  transition band below the Nyquist frequency, counts as error.
- eqr, rotation around the centre. A rotation changes the square of frequencies that an image holds,
  so its corners cannot be compared. Both sides are restricted to the disc of frequencies that every
  rotation keeps: `rotate` filters with a radial k, and G(t(input)) is filtered with the same k.
  Since k has no direction, filtering and rotating is one step.

Source: Karras et al. 2021 (arXiv:2106.12423), section 2, equation 3, and appendix E.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import stylegan_ops
from stylegan.errors import UserError
from stylegan.inference.inputs import count_of, number_of
from stylegan.inference.motion import moved_input
from stylegan.inference.truncation import ClassCenters, center_of
from stylegan.metrics.labels import TrainingLabels
from stylegan.metrics.pictures import sample_rng, split
from stylegan.metrics.resampling import Moved, lowpass, rotate, shift, shift_whole
from stylegan.models.generator import Generator
from stylegan.models.stylegan3 import make_transform

KINDS = ("eqt_int", "eqt_frac", "eqr")
MAX_SHIFT = 0.125  # of the image, along each axis
MIN_SIZE = 32  # px; for a smaller image the filters would cover most of it


@dataclass(frozen=True)
class Draws:
    """The random numbers of a batch of samples."""

    z: torch.Tensor  # float32 [N, z_dim]
    c: torch.Tensor | None  # float32 [N, c_dim] labels; None without classes
    shifts: torch.Tensor  # float64 [N, 2], (x, y) in images, to the right and down
    angles: torch.Tensor  # float64 [N], degrees


@torch.no_grad()
def equivariance(
    G: Generator,
    kinds: Sequence[str] = KINDS,
    samples: int = 1000,
    batch: int | None = None,
    seed: int = 0,
    psi: float = 1,
    progress: Callable[[int], object] | None = None,
    labels: TrainingLabels | None = None,
    center: str | None = None,
) -> dict[str, float]:
    """Equivariance of a StyleGAN3 generator, as defined above.

    Args:
        G: a generator with a transform of its input, `synthesis.input.transform` [3, 3]. It is
            evaluated in float32 and restored afterwards. It must not be folded in another precision
            (`fold_constants`).
        kinds: of eqt_int, eqt_frac (shifts uniform up to 1/8 of the image along each axis) and eqr
            (angles uniform on the circle).
        samples: latents, each with one motion of every kind.
        batch: images resampled at once; does not change the result. None: by resolution.
        seed: of latents, motions and classes. Sample i does not depend on the number of samples.
        psi: truncation.
        progress: function that gets the number of samples done since its last call.
        labels: of the training set, which those of samples are drawn from. None: all classes alike.
        center: of the truncation, see `Pipeline`.
    Returns: {kind: dB}; inf if all images are equal.
    Raises: UserError for a generator without such a transform, or with images that are too small.
    """
    _check(G, kinds)
    samples, seed = count_of(samples, "samples", 1), count_of(seed, "seed", 0)
    batch, psi = count_of(batch, "batch", 0) if batch else None, number_of(psi, "psi")
    size, device = G.config.resolution[0], next(G.parameters()).device
    batch = min(batch or max((1 << 16) // size**2, 1), samples)
    error, count = dict.fromkeys(kinds, 0.0), dict.fromkeys(kinds, 0)
    plan = "fixed" if device.type == "cpu" else "measure"  # as in a Pipeline
    own = center_of(G, center) == "class" and psi != 1
    centers = ClassCenters(G) if own else None
    with _exact(G), stylegan_ops.planning(plan, unless_set=True):
        for indices in split(samples, batch):
            draws = _draw(G, seed, indices, labels or TrainingLabels(G.c_dim))
            c = None if draws.c is None else draws.c.to(device)
            if centers and c is not None:
                ws = G.mapping(draws.z.to(device), c)
                ws = G.mapping.truncate(ws, psi, None, centers(c)[:, None])
            else:
                ws = G.mapping(draws.z.to(device), c, psi)
            still = G.synthesis(ws).float()
            for kind in kinds:
                images, expected = _compare(G, ws, still, kind, draws)
                squares = (images - expected.images).square().mean(dim=1) * expected.valid
                error[kind] += sum(squares.sum(dim=(1, 2)).tolist())
                count[kind] += int(expected.valid.sum())
            if progress:
                progress(len(indices))
    mse = {kind: error[kind] / count[kind] for kind in kinds}
    return {kind: -10 * math.log10(m / 4) if m else math.inf for kind, m in mse.items()}


def _compare(
    G: Generator, ws: torch.Tensor, still: torch.Tensor, kind: str, draws: Draws
) -> tuple[torch.Tensor, Moved]:
    """G(t(input)) as [N, C, H, W], and t(G(input)).

    Args: still: G(input), [N, C, H, W].
    """
    size = still.shape[-1]
    if kind == "eqr":
        motions = [make_transform(angle=float(a)) for a in draws.angles]
        return lowpass(_images_of_moved(G, ws, motions)), rotate(still, draws.angles)
    shifts = draws.shifts * size  # px
    if kind == "eqt_int":
        shifts = shifts.round()
    motions = [make_transform((float(x) / size, float(y) / size)) for x, y in shifts]
    expected = (shift_whole if kind == "eqt_int" else shift)(still, shifts)
    return _images_of_moved(G, ws, motions), expected


def _images_of_moved(
    G: Generator, ws: torch.Tensor, motions: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Images [N, C, H, W] float32, each with its own motion of the input."""
    images = []
    for w, motion in zip(ws, motions):
        with moved_input(G, motion):
            images.append(G.synthesis(w[None]).float())
    return torch.cat(images)


def _draw(G: Generator, seed: int, indices: Sequence[int], labels: TrainingLabels) -> Draws:
    z, c, shifts, angles = [], [], [], []
    for index in indices:
        rng = sample_rng(seed, index)
        z.append(rng.standard_normal(G.z_dim))
        shifts.append(rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2))
        angles.append(rng.uniform(0, 360))
        if G.c_dim:
            c.append(labels.draw(rng))
    return Draws(
        z=torch.tensor(np.stack(z)).float(),
        c=torch.from_numpy(np.stack(c)) if G.c_dim else None,
        shifts=torch.tensor(np.stack(shifts)),
        angles=torch.tensor(angles, dtype=torch.float64),
    )


def _check(G: Generator, kinds: Sequence[str]) -> None:
    if unknown := set(kinds) - set(KINDS):
        raise ValueError(f"kinds: expected of {', '.join(KINDS)}, got {', '.join(unknown)}")
    if not hasattr(getattr(G.synthesis, "input", None), "transform"):
        raise UserError(
            "equivariance", "expected a StyleGAN3 network; the input of this one cannot be moved"
        )
    height, width = G.config.resolution
    if height != width or height < MIN_SIZE:
        raise UserError(
            "equivariance",
            f"expected square pictures of {MIN_SIZE} px or more, got {width}x{height}",
        )


@contextlib.contextmanager
def _exact(G: Generator) -> Iterator[None]:
    """All layers in float32 without TF32, since rounding would count as error of the network."""
    layers: list[Any] = [m for m in G.modules() if hasattr(m, "precision")]
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
