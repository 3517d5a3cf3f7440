# SPDX-License-Identifier: Apache-2.0
"""How native ops filter images, and the adjoint of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stylegan_ops.runtime.images import Filter, filter_size


@dataclass(frozen=True, slots=True)
class Fir:
    """How one pass filters: everything but the images and the filter."""

    up: Sequence[int]  # (x, y), as down and origin
    down: Sequence[int]
    origin: Sequence[int]
    size: Sequence[int]  # (H', W')
    flip: bool
    gain: float

    def adjoint(self, f: Filter, in_size: Sequence[int]) -> Fir:
        """That of the gradient w.r.t. images of in_size (H, W)."""
        kw, kh = filter_size(f)
        origin = [kw - 1 - self.origin[0], kh - 1 - self.origin[1]]
        return Fir(self.down, self.up, origin, in_size, not self.flip, self.gain)


@dataclass(frozen=True, slots=True)
class FirPair:
    """How filtered_lrelu filters twice: everything but images, filters and slopes."""

    up: int
    down: int
    up_origin: Sequence[int]  # (x, y), as down_origin
    down_origin: Sequence[int]
    mid: Sequence[int]  # (H, W) between the filters
    size: Sequence[int]  # (H', W')
    up_flip: bool
    down_flip: bool
    up_gain: float
    down_gain: float
