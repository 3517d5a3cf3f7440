# SPDX-License-Identifier: Apache-2.0
"""Losses and regularizers: tensors in, scalars out. D returns a logit, large for real."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


def g_nonsaturating(fake: torch.Tensor) -> torch.Tensor:
    """mean softplus(-D(G(z))) = -log sigmoid(D(G(z))).

    Source: Goodfellow et al. 2014 (arXiv:1406.2661), section 3.
    """
    return F.softplus(-fake).mean()


def g_saturating(fake: torch.Tensor) -> torch.Tensor:
    """mean log(1 - sigmoid(D(G(z)))): G's side of the minimax objective.

    Source: Goodfellow et al. 2014 (arXiv:1406.2661), equation 1.
    """
    return -F.softplus(fake).mean()


def d_fake(fake: torch.Tensor) -> torch.Tensor:
    """mean softplus(D(G(z))): the generated half of D's logistic loss, the same in both
    objectives."""
    return F.softplus(fake).mean()


def d_real(real: torch.Tensor) -> torch.Tensor:
    """mean softplus(-D(x)): the real half of D's logistic loss."""
    return F.softplus(-real).mean()


def r1_penalty(images: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """mean over the batch of |grad_x D(x)|^2.

    Args:
        images: [N, C, H, W], requiring a gradient.
        logits: [N, 1] = D(images).
    Source: Mescheder et al. 2018 (arXiv:1801.04406), equation 9, without gamma/2.
    """
    (grad,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return grad.square().sum(dim=[1, 2, 3]).mean()


def path_lengths(
    images: torch.Tensor, ws: torch.Tensor, generator: torch.Generator | None = None
) -> torch.Tensor:
    """|J^T y| per sample, with J the Jacobian of images w.r.t. ws and y a random image direction.

    Args:
        images: [N, C, H, W] = synthesis(ws).
        ws: [N, num_ws, w_dim], requiring a gradient.
        generator: torch.Generator of y, on the device of images.
    Returns: [N] = sqrt(mean over num_ws of the sum over w_dim of the squared gradient).
    Source: Karras et al. 2020 (arXiv:1912.04958), section 3.2 and appendix B.
    """
    y = torch.randn(images.shape, generator=generator, device=images.device)
    y = y / math.sqrt(images.shape[2] * images.shape[3])
    (grad,) = torch.autograd.grad((images * y).sum(), ws, create_graph=True)
    return grad.square().sum(dim=2).mean(dim=1).sqrt()


def path_length_penalty(lengths: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """mean (|J^T y| - a)^2 for the running mean a of the lengths."""
    return (lengths - mean).square().mean()


G_LOSSES = {"nonsaturating": g_nonsaturating, "saturating": g_saturating}
