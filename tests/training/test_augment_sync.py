# SPDX-License-Identifier: Apache-2.0
"""Augmentation does not wait for a GPU. Tensors on `meta` have no values, so reading one fails."""

import contextlib

import pytest
import torch

from stylegan.training.adapt import INTERVAL, Adaptation
from stylegan.training.augment import pipe_of
from stylegan.training.diffaugment import diff_augment

META = torch.device("meta")


@pytest.fixture(autouse=True)
def autocast(monkeypatch):
    """PyTorch has no autocast on meta."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())


def pipe():
    pipe = pipe_of("bgcfnc")
    pipe.p = torch.empty([], device=META)
    return pipe.to(META)


@pytest.mark.parametrize("augment", [pipe(), diff_augment], ids=["ada", "diff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_nothing_of_the_device_is_read(augment, channels):
    x = torch.empty(2, channels, 24, 40, device=META, requires_grad=True)
    (grad,) = torch.autograd.grad(augment(x).sum(), x, create_graph=True)
    assert grad.shape == x.shape


def test_the_probability_is_changed_on_the_device():
    adaptation = Adaptation(torch.empty([], device=META), 0.6, 500, 0.8)
    adaptation.observe(torch.empty(4, 1, device=META))
    adaptation.step(INTERVAL, 4)
    assert adaptation.p.device == META
