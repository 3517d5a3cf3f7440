# SPDX-License-Identifier: Apache-2.0
"""What the tests of Winograd convolutions share."""

from contextlib import contextmanager

import torch
import torch.nn.functional as F
from support.checks import rand

from stylegan_ops.layer import winograd

FORMS = list(winograd.FORMS)
LAST = torch.channels_last
BOUND = 2e-5  # of the largest value
NORM = 6e-6  # of the root mean square; 2.1e-6 was found, with 512 channels


def has_isa(isa):
    """Whether this CPU has what isa 0, 1 or 2 asks for."""
    most = {"AVX2": 1, "AVX512": 2}.get(torch.backends.cpu.get_cpu_capability(), 0)
    return isa <= most


@contextmanager
def threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def images(*shape, seed=0):
    """float32, channels_last"""
    return rand(*shape, seed=seed).float().contiguous(memory_format=LAST)


def plain(x, w, form, padding=(0, 0), flip=False):
    """The convolution by PyTorch, in the dtype of x."""
    w = w.to(x.dtype)
    w = w.flip([2, 3]) if flip else w
    if form == "up":
        return F.conv_transpose2d(x, w.transpose(0, 1), stride=2)
    return F.conv2d(x, w, stride=2 if form == "down" else 1, padding=padding)


def convolve(x, w, form, padding=(0, 0), flip=False, isa=None, **given):
    tiles = winograd.tiles(w, form, flip, isa)
    return winograd.convolve(x, tiles, padding, isa=isa, **given)


def check(y, exact):
    """Float32 and as near to float64 as is promised."""
    assert y.shape == exact.shape and y.dtype == torch.float32
    difference = y.double() - exact
    error = difference.abs().max() / exact.abs().max()
    norm = difference.norm() / exact.norm()
    assert error <= BOUND and norm <= NORM, f"error {error:.3g}, norm {norm:.3g}"


def rule(monkeypatch, *forms, once=0):
    """From now on these forms cost nothing, others very much, whatever the layer; and tiles are
    always kept. once: what a convolution costs besides, in direct ones of so many pixels."""
    for name in ("COSTS", "GRAD_COSTS"):
        costs = {
            form: winograd.Cost(cost.side, 1e-6 if form in forms else 1e9, 0, 9 * once, 9 * once)
            for form, cost in getattr(winograd, name).items()
        }
        monkeypatch.setattr(winograd, name, costs)
    monkeypatch.setattr(winograd, "MIN_CONTIGUOUS", 0)
    monkeypatch.setattr(winograd, "worth_folding", lambda *args: True)


def logged(monkeypatch):
    """{function of winograd: the forms that it is called with, from now on}"""
    log = {"convolve": [], "tiles": [], "weight_grad": []}

    def watch(name, form):
        own = getattr(winograd, name)

        def run(*args, **kwargs):
            log[name].append(form(*args))
            return own(*args, **kwargs)

        monkeypatch.setattr(winograd, name, run)

    watch("convolve", lambda x, t, *_: t.form)
    watch("tiles", lambda w, form, *_: form)
    watch("weight_grad", lambda x, dy, form, *_: form)
    return log
