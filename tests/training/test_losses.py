# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from stylegan.training import losses
from stylegan.training.ema import ema_beta, update_ema


def test_logistic_losses_by_the_formula():
    logits = torch.tensor([[-2.0], [0.0], [3.0]], dtype=torch.float64)
    p = torch.sigmoid(logits)
    torch.testing.assert_close(losses.g_nonsaturating(logits), -torch.log(p).mean())
    torch.testing.assert_close(losses.g_saturating(logits), torch.log(1 - p).mean())
    torch.testing.assert_close(losses.d_fake(logits), -torch.log(1 - p).mean())
    torch.testing.assert_close(losses.d_real(logits), -torch.log(p).mean())


def test_both_objectives_pull_the_generator_the_same_way():
    for loss in losses.G_LOSSES.values():
        logits = torch.tensor([[-1.0], [2.0]], requires_grad=True)
        (grad,) = torch.autograd.grad(loss(logits), logits)
        assert (grad < 0).all()


def test_nonsaturating_does_not_saturate():
    """Where D is sure that an image is generated, only the non-saturating loss still moves G."""
    grads = {}
    for name, loss in losses.G_LOSSES.items():
        logits = torch.tensor([[-10.0]], requires_grad=True)
        (grads[name],) = torch.autograd.grad(loss(logits), logits)
    assert grads["nonsaturating"].item() == pytest.approx(-1, abs=1e-3)
    assert abs(grads["saturating"].item()) < 1e-3


def test_r1_of_a_linear_discriminator_is_the_square_of_its_weights():
    w = torch.randn(3, 4, 5)
    x = torch.randn(6, 3, 4, 5, requires_grad=True)
    penalty = losses.r1_penalty(x, (x * w).sum(dim=[1, 2, 3])[:, None])
    torch.testing.assert_close(penalty, w.square().sum())


def test_r1_can_be_differentiated():
    x = torch.randn(2, 1, 2, 2, requires_grad=True)
    a = torch.tensor(3.0, requires_grad=True)
    penalty = losses.r1_penalty(x, a * x.square().sum(dim=[1, 2, 3])[:, None])  # |2ax|^2
    (grad,) = torch.autograd.grad(penalty, a)
    torch.testing.assert_close(grad, 8 * a * x.square().sum(dim=[1, 2, 3]).mean())


def test_path_length_of_a_linear_generator():
    """images = A w for every sample and ws: |J^T y| is known for the y that was drawn."""
    torch.manual_seed(0)
    n, num_ws, w_dim = 5, 3, 4
    A = torch.randn(2 * 6 * 7, num_ws * w_dim)
    ws = torch.randn(n, num_ws, w_dim, requires_grad=True)
    images = (ws.flatten(1) @ A.t()).reshape(n, 2, 6, 7)
    rng = torch.Generator().manual_seed(7)
    lengths = losses.path_lengths(images, ws, rng)
    y = torch.randn(images.shape, generator=torch.Generator().manual_seed(7)) / math.sqrt(6 * 7)
    J = (y.flatten(1) @ A).reshape(n, num_ws, w_dim)
    torch.testing.assert_close(lengths, J.square().sum(2).mean(1).sqrt())
    torch.testing.assert_close(
        losses.path_length_penalty(torch.tensor([1.0, 4.0]), 2.0), torch.tensor(2.5)
    )


def test_ema_beta():
    assert ema_beta(32, 10, 1e9) == pytest.approx(0.5 ** (32 / 10_000))
    assert ema_beta(32, 10, 1000, rampup=0.05) == pytest.approx(0.5 ** (32 / 50))
    assert ema_beta(32, 10, 10**9, rampup=0.05) == pytest.approx(0.5 ** (32 / 10_000))
    assert ema_beta(32, 10, 0, rampup=0.05) == 0


def test_update_ema():
    averaged, model = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    torch.nn.init.constant_(averaged.weight, 1)
    torch.nn.init.constant_(model.weight, 3)
    model.running_mean.fill_(5)
    update_ema(averaged, model, 0.75)
    assert averaged.weight.tolist() == [1.5, 1.5]
    assert averaged.running_mean.tolist() == [5, 5]
