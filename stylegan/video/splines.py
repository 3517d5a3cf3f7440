# SPDX-License-Identifier: Apache-2.0
"""Smooth curves through points."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


class CubicSpline:
    """The interpolating cubic spline with knots 0, 1, ..., K-1: twice continuously differentiable.

    Between knots i and i+1, with u = t - i and M the second derivatives at the knots,
    y(t) = (1-u) y_i + u y_{i+1} + ((1-u)^3 - (1-u)) M_i / 6 + (u^3 - u) M_{i+1} / 6,
    and M solves M_{i-1} + 4 M_i + M_{i+1} = 6 (y_{i-1} - 2 y_i + y_{i+1}).

    Args:
        points: [K, ...], any K >= 1.
        loop: the curve continues from the last point to the first, with period K. Otherwise it ends
            at the last point, with M = 0 at both ends (natural spline).
    """

    def __init__(self, points: ArrayLike, loop: bool = True) -> None:
        self.points, self.loop = np.asarray(points, np.float64), loop
        count = len(self.points)
        y = self.points.reshape(count, -1)
        if loop:
            # A circulant system, which the Fourier transform diagonalizes.
            turn = 2 * np.cos(2 * np.pi * np.arange(count // 2 + 1) / count)[:, None]
            spectrum = np.fft.rfft(y, axis=0) * 6 * (turn - 2) / (turn + 4)
            second = np.fft.irfft(spectrum, count, axis=0)
        else:
            second = np.zeros_like(y)
            inner = max(count - 2, 0)
            system = 4 * np.eye(inner) + np.eye(inner, k=1) + np.eye(inner, k=-1)
            second[1:-1] = np.linalg.solve(system, 6 * np.diff(y, 2, axis=0)) if inner else 0
        self.second = second.reshape(self.points.shape)

    def __call__(self, t: ArrayLike) -> np.ndarray:
        """[n, ...] float64 at times t [n]; without loop they are clipped to [0, K-1]."""
        t, count = np.asarray(t, np.float64), len(self.points)
        t = t % count if self.loop else t.clip(0, count - 1)
        # t % count rounds up to count for a tiny negative t.
        i = np.minimum(t.astype(int), count - 1 if self.loop else max(count - 2, 0))
        u = (t - i).reshape(-1, *[1] * (self.points.ndim - 1))
        j = (i + 1) % count
        linear = (1 - u) * self.points[i] + u * self.points[j]
        cubic = ((1 - u) ** 3 - (1 - u)) * self.second[i] + (u**3 - u) * self.second[j]
        return linear + cubic / 6


def frame_times(count: int, points: int, loop: bool = True) -> np.ndarray:
    """Evenly spaced times [count] float64 on a spline through `points` points: with `loop` one
    period without its end, otherwise from the first point to the last."""
    if loop:
        return np.arange(count) * (points / count)
    return np.linspace(0, points - 1, count)
