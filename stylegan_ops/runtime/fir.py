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

    def adjoint(self, fu: Filter, fd: Filter, in_size: Sequence[int]) -> FirPair:
        """That of the gradient w.r.t. images of in_size (H, W), for the filters exchanged."""
        return FirPair(
            up=self.down,
            down=self.up,
            up_origin=[k - 1 - o for k, o in zip(filter_size(fd), self.down_origin)],
            down_origin=[k - 1 - o for k, o in zip(filter_size(fu), self.up_origin)],
            mid=self.mid,
            size=in_size,
            up_flip=not self.down_flip,
            down_flip=not self.up_flip,
            up_gain=self.down_gain,
            down_gain=self.up_gain,
        )
