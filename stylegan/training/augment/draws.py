# SPDX-License-Identifier: Apache-2.0
"""The random numbers of a call: whether a transform happens to an image, and by how much."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Draws:
    """Draws for n images, on their device, without waiting for it.

    Args:
        n: images.
        p: scalar tensor; a transform of strength s happens with probability s * p.
        generator: on the device of p; None: PyTorch's global one.
        percentile: if given, every transform happens, and a draw is this percentile of its
            distribution.
    """

    n: int
    p: torch.Tensor
    generator: torch.Generator | None = None
    percentile: torch.Tensor | None = None

    def uniform(self, *size: int) -> torch.Tensor:
        """[n, *size] in [0, 1)."""
        if self.percentile is not None:
            return self.percentile.expand(self.n, *size)
        return self._rand(*size)

    def normal(self, *size: int) -> torch.Tensor:
        """[n, *size] of the standard normal distribution."""
        if self.percentile is not None:
            return torch.erfinv(2 * self.percentile - 1).expand(self.n, *size)
        return self.true_normal(self.n, *size)

    def half_normal(self, *size: int) -> torch.Tensor:
        """[n, *size], the magnitude of a standard normal."""
        if self.percentile is not None:
            return torch.erfinv(self.percentile).expand(self.n, *size)
        return self.true_normal(self.n, *size).abs()

    def true_normal(self, *size: int) -> torch.Tensor:
        """`size` numbers of the standard normal distribution, random in any case."""
        p = self.p  # its dtype: float32, whatever PyTorch's default is
        return torch.randn(size, generator=self.generator, device=p.device, dtype=p.dtype)

    def happens(self, probability: torch.Tensor, *size: int) -> torch.Tensor:
        """bool [n, *size], each True with `probability`."""
        if self.percentile is not None:
            return torch.ones(self.n, *size, dtype=torch.bool, device=self.p.device)
        return self._rand(*size) < probability

    def _rand(self, *size: int) -> torch.Tensor:
        p = self.p
        size = self.n, *size
        return torch.rand(size, generator=self.generator, device=p.device, dtype=p.dtype)


@functools.cache
def constant(values: tuple[float | tuple[float, ...], ...], device: torch.device) -> torch.Tensor:
    """Numbers on a device. They are copied there once, because every copy waits for it."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=torch.float32, device=device)
