# SPDX-License-Identifier: Apache-2.0
"""The mapping network: latent and label to w."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn as nn

from stylegan.config.numbers import as_float, as_int
from stylegan.models.layers import EqualLinear, normalize_2nd_moment
from stylegan.models.precision import own_precision, wide_dtype
from stylegan.words import shown


class Mapping(nn.Module):
    """w = fc_n(... fc_0([norm(z), norm(embed(c))])), and its running mean for truncation.

    Source: Karras et al. 2019 (arXiv:1812.04948), sections 2 and B.

    Args:
        z_dim: width of z; 0 for a mapping of the label alone.
        c_dim: width of the label; 0 for none.
        w_dim: width of w and of every layer.
        num_ws: copies of w in the result; None gives [N, w_dim], without running mean.
        num_layers: fully connected layers.
        w_avg_beta: decay of the running mean, per batch.
        lr_mult: factor on the learning rate.
    """

    w_avg: torch.Tensor

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_ws: int | None,
        num_layers: int = 8,
        w_avg_beta: float = 0.995,
        lr_mult: float = 0.01,
    ) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.num_ws = z_dim, c_dim, num_ws
        self.num_layers, self.w_avg_beta = num_layers, w_avg_beta
        if c_dim:
            self.embed = EqualLinear(c_dim, w_dim)
        width = z_dim + (w_dim if c_dim else 0)
        for i in range(num_layers):
            layer = EqualLinear(width if i == 0 else w_dim, w_dim, act="lrelu", lr_mult=lr_mult)
            setattr(self, f"fc{i}", layer)
        if num_ws is not None:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    @own_precision
    def forward(
        self,
        z: torch.Tensor | None,
        c: torch.Tensor | None = None,
        truncation_psi: float = 1,
        truncation_cutoff: int | None = None,
    ) -> torch.Tensor:
        """w of latents and labels.

        Args:
            z: [N, z_dim], or None; any floating dtype.
            c: [N, c_dim], or None.
            truncation_psi: 1 does not change w, 0 gives the mean.
            truncation_cutoff: number of leading ws to truncate; None: all.
        Returns: ws [N, num_ws, w_dim], or w [N, w_dim]; float32, or float64 if the weights are.
        Raises: ValueError if z or c does not fit the network.
        """
        weight = next(self.parameters()) if self.num_ws is None else self.w_avg
        inputs, dtype = [], wide_dtype(weight)
        if self.z_dim:
            inputs.append(normalize_2nd_moment(_checked("z", z, self.z_dim, dtype)))
        if self.c_dim:
            inputs.append(normalize_2nd_moment(self.embed(_checked("c", c, self.c_dim, dtype))))
        elif c is not None and c.shape[-1]:
            raise ValueError(f"c: this network takes no label, got shape {list(c.shape)}")
        w = torch.cat(inputs, dim=1)
        for i in range(self.num_layers):
            w = getattr(self, f"fc{i}")(w)
        if self.num_ws is None:
            return w
        # Memory of their own, to be edited one by one; several times as fast as repeat.
        ws = w[:, None].expand(-1, self.num_ws, -1).contiguous()
        return self.truncate(ws, truncation_psi, truncation_cutoff)

    def truncate(
        self,
        ws: torch.Tensor,
        truncation_psi: float = 1,
        truncation_cutoff: int | None = None,
        center: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """center + psi * (ws - center) in the first ws.

        Args:
            ws: [N, num_ws, w_dim].
            truncation_psi, truncation_cutoff: as in `forward`.
            center: [N, 1, w_dim]; None: the running mean, [w_dim].
        Returns: [N, num_ws, w_dim]; ws itself if psi is 1.
        Raises: ValueError for a psi that is not finite, or a negative cutoff.
        """
        psi, cutoff = _checked_psi(truncation_psi), _checked_cutoff(truncation_cutoff)
        if psi == 1:
            return ws
        near = (self.w_avg if center is None else center).to(ws.dtype).lerp(ws, psi)
        if cutoff is None:
            return near
        return torch.cat([near[:, :cutoff], ws[:, cutoff:]], dim=1)

    @torch.no_grad()
    def update_w_avg(self, mean: torch.Tensor) -> None:
        """Move the running mean towards the mean w [w_dim] of a batch."""
        self.w_avg.lerp_(mean.to(self.w_avg.dtype), 1 - self.w_avg_beta)


def _checked(name: str, value: torch.Tensor | None, width: int, dtype: torch.dtype) -> torch.Tensor:
    """`value` in a dtype. Raises: ValueError if it is not [N, width]."""
    if value is not None and not isinstance(value, torch.Tensor):
        raise ValueError(f"{name}: expected a tensor [N, {width}], got {shown(value)}")
    if value is None or value.ndim != 2 or value.shape[1] != width:
        got = "None" if value is None else f"shape {list(value.shape)}"
        raise ValueError(f"{name}: expected [N, {width}], got {got}")
    if value.is_complex():
        raise ValueError(f"{name}: expected real numbers, got {value.dtype}")
    return value.to(dtype)


def _checked_psi(psi: Any) -> Any:
    """A finite number of any library as a float; a tensor stays one, for graphs with psi as an
    input. Raises: ValueError."""
    known = isinstance(psi, torch.Tensor) or type(psi) is int
    if known or (type(psi) is float and math.isfinite(psi)):
        return psi
    try:
        return as_float(psi)
    except (TypeError, ValueError) as e:
        expected = f"expected a finite number, got {shown(psi)}"
        raise ValueError(f"truncation_psi: {expected}") from e


def _checked_cutoff(cutoff: Any) -> int | None:
    """An integer of any library as an int. Raises: ValueError."""
    if cutoff is None:
        return None
    try:
        number = as_int(cutoff)
    except (TypeError, ValueError) as e:
        raise ValueError(f"truncation_cutoff: expected an integer, got {shown(cutoff)}") from e
    if number < 0:
        raise ValueError(f"truncation_cutoff: expected 0 or more, got {number}")
    return number
