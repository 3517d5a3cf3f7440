# SPDX-License-Identifier: Apache-2.0
"""Matrices, and the filter, of warp_affine's tests."""

import math

import torch

# sym6, orthonormal, of sum 1.
F12 = torch.tensor(
    [
        *(0.0154041093, 0.0034907121, -0.1179901111, -0.0483117426, 0.4910559419, 0.7876411410),
        *(0.3379294217, -0.0726375228, -0.0210602925, 0.0447249018, 0.0017677118, -0.0078007083),
    ],
    dtype=torch.float64,
)
F12 = (F12 / F12.sum()).float()
F4 = torch.tensor([0.1, 0.5, 0.3, 0.1])
FILTERS = {"sym6": F12, "4 taps": F4, "8 taps": torch.linspace(0.05, 0.2, 8)}


def _matrix(a, b, c, d, x=0.0, y=0.0):
    return torch.tensor([[a, b, x], [c, d, y], [0.0, 0.0, 1.0]])


_C, _S = math.cos(0.5), math.sin(0.5)
MATRICES = {
    "identity": _matrix(1, 0, 0, 1),
    "flip": _matrix(-1, 0, 0, 1),
    "90 degrees": _matrix(0, 1, -1, 0),
    "rotation": _matrix(_C, -_S, _S, _C, 3.3, -2.1),
    "shift": _matrix(1, 0, 0, 1, 7.3, -5.9),
    "shift by 1000": _matrix(1, 0, 0, 1, 1000, 0),
    "magnified 10 times": _matrix(0.1, 0, 0, 0.1, 0.2, -0.3),
    "10 times smaller": _matrix(10, 0, 0, 10),
    "shear": _matrix(2.2, 0.3, -0.4, 0.5, 1, 2),
    "rank 1": _matrix(1, 1, 1, 1, 0.3, 0.2),
    "zero": _matrix(0, 0, 0, 0),
}
NOT_FINITE = {
    "NaN": _matrix(math.nan, 0, 0, 1),
    "NaN shift": _matrix(1, 0, 0, 1, 0, math.nan),
    "inf": _matrix(1, 0, math.inf, 1),
    "inf shift": _matrix(1, 0, 0, 1, -math.inf, 0),
    "huge": _matrix(1e30, -1e30, 1e30, 1e30),
}


def matrix(name, n):
    """[n, 3, 3], the named one."""
    return (MATRICES | NOT_FINITE)[name].expand(n, 3, 3)


def mixed(n):
    """[n, 3, 3], one after another, no two alike."""
    every = list(MATRICES.values())
    return torch.stack([every[i % len(every)] for i in range(n)])
