# SPDX-License-Identifier: Apache-2.0
"""Constants computed once: the same images, and gone where they do not hold any more."""

import copy
import pickle

import pytest
import torch
from support.tiny import tiny

from stylegan import build_generator
from stylegan.models.fold import fold_constants

Z = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))


def generator(seed=0):
    torch.manual_seed(seed)
    G = build_generator(tiny().G).eval()
    for name, p in G.named_parameters():
        if "noise_strength" in name:
            torch.nn.init.constant_(p, 0.3)
    return G


@torch.no_grad()
def images(G):
    return G(Z.to(next(G.parameters()).dtype), *labels(G))


def labels(G):
    return [torch.eye(G.c_dim)[[0, 0]]] if G.c_dim else []


@pytest.fixture
def folded():
    G = generator()
    images(G)  # the plan, if there is one
    fold_constants(G)
    return G


def test_same_images_and_weights(folded):
    G = generator()
    torch.testing.assert_close(images(folded), images(G), atol=1e-5, rtol=1e-4)
    for (name, ours), theirs in zip(folded.state_dict().items(), G.state_dict().values()):
        assert torch.equal(ours, theirs), name
    assert list(folded.state_dict()) == list(G.state_dict())


def test_folding_again_keeps_what_holds(folded):
    before = {n: m.folded for n, m in folded.named_modules() if getattr(m, "folded", None)}
    assert before
    fold_constants(folded)
    assert all(folded.get_submodule(name).folded is value for name, value in before.items())


def replace_parameters(G, state):
    G.load_state_dict(state, assign=True)
    return G


def copy_and_load(G, state):
    G = copy.deepcopy(G)
    G.load_state_dict(state)
    return G


def pickle_and_load(G, state):
    G = pickle.loads(pickle.dumps(G))
    G.load_state_dict(state)
    return G


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("change", [replace_parameters, copy_and_load, pickle_and_load])
def test_other_weights(folded, change, inference):
    other = generator(seed=1)
    with torch.inference_mode(inference):
        fold_constants(folded)
    G = change(folded, other.state_dict())
    torch.testing.assert_close(images(G), images(other), atol=1e-5, rtol=1e-4)


def test_weights_changed_in_place(folded):
    other = generator(seed=1)
    with torch.no_grad():
        for p, new in zip(folded.parameters(), other.parameters()):
            p.copy_(new)
        for b, new in zip(folded.buffers(), other.buffers()):
            b.copy_(new)
    torch.testing.assert_close(images(folded), images(other), atol=1e-5, rtol=1e-4)


def test_another_dtype(folded):
    """As `.to(device)` does."""
    layer = folded.synthesis.b8.conv0
    assert layer.folded.get(layer.weight) is None  # with gradients
    with torch.no_grad():
        assert layer.folded.get(layer.weight) is not None
        folded.double()
        assert layer.folded.get(layer.weight) is None


def test_functional_call(folded):
    other = generator(seed=1)
    with torch.no_grad():
        y = torch.func.functional_call(folded, other.state_dict(), (Z, *labels(folded)))
    torch.testing.assert_close(y, images(other), atol=1e-5, rtol=1e-4)


def test_gradients_do_not_see_it(folded):
    y = folded(Z, *labels(folded))
    (grad,) = torch.autograd.grad(y.square().sum(), folded.synthesis.b8.conv0.weight)
    plain = generator()
    y = plain(Z, *labels(plain))
    (expected,) = torch.autograd.grad(y.square().sum(), plain.synthesis.b8.conv0.weight)
    torch.testing.assert_close(grad, expected, atol=1e-4, rtol=1e-3)
