# SPDX-License-Identifier: Apache-2.0
"""The augmentation pipe."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

import stylegan_ops
from stylegan.errors import UserError
from stylegan.training.augment import color, corrupt, geometry
from stylegan.training.augment.draws import Draws

MIN_FILTER_SIDE = 22  # px; the reflection of a smaller image is too short for the filter

_BLIT = ("xflip", "rotate90", "xint")
_GEOM = ("scale", "rotate", "aniso", "xfrac")
_COLOR = color.NAMES
# Names of the paper, table 1 of appendix C.
PIPES = {
    "blit": _BLIT,
    "geom": _GEOM,
    "color": _COLOR,
    "filter": ("imgfilter",),
    "noise": ("noise",),
    "cutout": ("cutout",),
    "bg": (*_BLIT, *_GEOM),
    "bgc": (*_BLIT, *_GEOM, *_COLOR),
    "bgcf": (*_BLIT, *_GEOM, *_COLOR, "imgfilter"),
    "bgcfn": (*_BLIT, *_GEOM, *_COLOR, "imgfilter", "noise"),
    "bgcfnc": (*_BLIT, *_GEOM, *_COLOR, "imgfilter", "noise", "cutout"),
}


class AugmentPipe(nn.Module):
    """Transforms images at random. Each transform happens with probability strength * p to each
    image.

    Transforms of color, imgfilter and noise leave an alpha channel alone. hue and saturation need
    RGB. Values are not clamped.

    Args: a strength of 0 or more for every transform, in the order in which they happen.
    Attributes: p, a scalar buffer, 1 at first; generator, the source of random numbers on the
        device of the images (None: PyTorch's global one).
    Source: Karras et al. 2020 (arXiv:2006.06676), appendix B.
    """

    p: torch.Tensor
    low_pass: torch.Tensor
    bank: torch.Tensor

    def __init__(
        self,
        xflip: float = 0,
        rotate90: float = 0,
        xint: float = 0,
        scale: float = 0,
        rotate: float = 0,
        aniso: float = 0,
        xfrac: float = 0,
        brightness: float = 0,
        contrast: float = 0,
        lumaflip: float = 0,
        hue: float = 0,
        saturation: float = 0,
        imgfilter: float = 0,
        noise: float = 0,
        cutout: float = 0,
    ) -> None:
        super().__init__()
        values = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        self.strengths: dict[str, float] = {k: float(v) for k, v in values.items()}
        for name, value in self.strengths.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}: expected a strength of 0 or more, got {value}")
        self.generator: torch.Generator | None = None
        self.register_buffer("p", torch.ones([], dtype=torch.float32))
        taps = torch.tensor(geometry.SYM6, dtype=torch.float64)
        low_pass = (taps / taps.sum()).float()
        self.register_buffer("low_pass", low_pass, persistent=False)
        self.register_buffer("bank", corrupt.filter_bank(), persistent=False)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value:g}" for name, value in self.strengths.items() if value)

    def forward(
        self, images: torch.Tensor, debug_percentile: float | torch.Tensor | None = None
    ) -> torch.Tensor:
        """Transformed images.

        Args:
            images: [N, 1, 3 or 4, H, W], any floating dtype, in about [-1, 1].
            debug_percentile: in (0, 1): every transform happens, and every draw is this percentile
                of its distribution.
        Returns: [N, C, H, W] of the dtype of images; differentiable in them any number of times.
        Raises: ValueError for images of another shape or dtype; UserError if imgfilter is on and a
            side is shorter than 22 px.
        """
        if images.ndim != 4 or not images.is_floating_point():
            raise ValueError(
                f"images: expected floating [N, C, H, W], got {images.dtype} {list(images.shape)}"
            )
        n, channels, height, width = images.shape
        # Asking a CPU for p costs nothing, and a run begins with p = 0.
        if debug_percentile is None and self.p.device.type == "cpu" and not self.p:
            return images
        if channels not in (1, 3, 4):
            raise ValueError(f"images: expected 1, 3 or 4 channels, got {list(images.shape)}")
        wide = images.dtype if images.dtype == torch.float64 else torch.float32
        with torch.autocast(images.device.type, enabled=False), torch.no_grad():
            draws = self._draws(n, debug_percentile)
            warp = geometry.matrices(self.strengths, draws, height, width)
            colors = color.matrices(self.strengths, draws, rgb=channels > 1)
        with torch.autocast(images.device.type, enabled=False):
            x = images.to(wide)
            if warp is not None:
                x = stylegan_ops.warp_affine(x, warp, self.low_pass)
            if colors is not None:
                x = color.apply(x, colors)
            x = self._corrupt(x, draws)
        return x.to(images.dtype)

    def _draws(self, n: int, percentile: Any) -> Draws:
        if percentile is not None:
            percentile = torch.as_tensor(percentile, dtype=torch.float32, device=self.p.device)
        return Draws(n, self.p.float(), self.generator, percentile)

    def _corrupt(self, x: torch.Tensor, draws: Draws) -> torch.Tensor:
        s = self.strengths
        if s["imgfilter"] or s["noise"]:
            rgb, alpha = x[:, :3], x[:, 3:]
            if s["imgfilter"] and len(x):
                check_filter(x.shape[2], x.shape[3])
                rgb = corrupt.filtered(rgb, s["imgfilter"], draws, self.bank)
            if s["noise"]:
                rgb = corrupt.noisy(rgb, s["noise"], draws)
            x = torch.cat([rgb, alpha], dim=1) if alpha.shape[1] else rgb
        return corrupt.cut_out(x, s["cutout"], draws) if s["cutout"] else x


def check_filter(height: int, width: int, setting: str = "imgfilter") -> None:
    """Raises: UserError, which names `setting`, if imgfilter cannot filter images of this size."""
    if min(height, width) < MIN_FILTER_SIDE:
        raise UserError(
            setting,
            f"the filter needs images of {MIN_FILTER_SIDE} px or more, not {width}x{height}; a "
            "pipe without it, such as bgc, has no limit",
        )


def pipe_of(name: str) -> AugmentPipe:
    """The pipe of a name in PIPES, with strength 1 everywhere. Raises: UserError."""
    if name not in PIPES:
        raise UserError("pipe", f"expected one of {', '.join(PIPES)}, got {name!r}")
    return AugmentPipe(**dict.fromkeys(PIPES[name], 1.0))
