# SPDX-License-Identifier: Apache-2.0
"""Networks under autocast, cast as a whole, and built with another default dtype."""

import copy

import numpy as np
import pytest
import torch
from support.pairs import pairs
from support.tiny import tiny, with_contrast

import stylegan_ops
from stylegan import Networks, Pipeline, UserError, build_discriminator, build_generator
from stylegan.training.step import TrainingStep

NAMES = ["stylegan2", "stylegan3-t", "stylegan3-r"]
Z = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))

CASES = pairs(
    {
        "name": NAMES,
        "backend": ["auto", "reference"],
        "c_dim": [0, 3],
        "dtype": [torch.bfloat16, torch.float16],
        "psi": [0.7, 1],
        "architectures": [("skip", "resnet"), ("resnet", "skip"), ("orig", "orig")],
        "precision": ["auto", "bfloat16", "float16"],
    }
)
CASTS = pairs(
    {
        "name": NAMES,
        "backend": ["auto", "reference"],
        "c_dim": [0, 3],
        "dtype": [torch.bfloat16, torch.float16, torch.float64],
        "given": [torch.float32, None, torch.float64],  # None: that of the network
        "precision": ["auto", "bfloat16"],
    }
)


def networks(name, c_dim=0, architectures=("skip", "resnet"), precision="auto", **fields):
    fields |= {"c_dim": c_dim, "precision": precision, "d_architecture": architectures[1]}
    if name == "stylegan2":
        fields["g_architecture"] = architectures[0]
    config = tiny(name, **fields)
    torch.manual_seed(0)
    G, D = with_contrast(build_generator(config)), build_discriminator(config)
    G.mapping.w_avg.normal_()
    for key, p in G.named_parameters():
        if key.endswith("noise_strength"):
            torch.nn.init.constant_(p, 0.3)
    return config, G, D


def one_hot(c_dim):
    return torch.eye(c_dim)[[0, 2]] if c_dim else None


def assert_close(ours, theirs, share):
    """Every difference is below a share of the largest value."""
    error = (ours.double() - theirs.double()).abs().max() / theirs.double().abs().max()
    assert error < share


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(map(str, c.values())))
def test_autocast(case):
    dtype, psi, c = case["dtype"], case["psi"], one_hot(case["c_dim"])
    _, G, D = networks(*(case[k] for k in ("name", "c_dim", "architectures", "precision")))
    with stylegan_ops.backend(case["backend"]):
        images = G(Z, c, truncation_psi=psi)
        logits = D(images, c)
        with torch.autocast("cpu", dtype):
            again = G(Z.to(dtype).float(), c, truncation_psi=psi)
            assert_close(D(images.detach(), c), logits, 1e-2)
            assert_close(G(Z, c, truncation_psi=psi), images, 1e-2)
        assert again.dtype == images.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("name", NAMES)
def test_derivatives_under_autocast(name, backend, dtype):
    _, G, D = networks(name)
    parameters = [*G.parameters(), *D.parameters()]
    found = []
    with stylegan_ops.backend(backend):
        for enabled in (False, True):
            with torch.autocast("cpu", dtype, enabled=enabled):
                images = G(Z)
                logits = D(images)
                (dx,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
                loss = logits.mean() + dx.square().sum()  # R1
                grads = torch.autograd.grad(loss, parameters, allow_unused=True)
            found.append(torch.cat([g.flatten() for g in grads if g is not None]))
    assert (found[0] - found[1]).norm() < 0.05 * found[0].norm()


@pytest.mark.parametrize("case", CASTS, ids=lambda c: "-".join(map(str, c.values())))
def test_a_network_that_was_cast(case):
    dtype, c = case["dtype"], one_hot(case["c_dim"])
    given = dtype if case["given"] is None else case["given"]
    config, G, D = networks(case["name"], case["c_dim"], precision=case["precision"])
    exact = copy.deepcopy(G).double(), copy.deepcopy(D).double()
    with stylegan_ops.backend(case["backend"]):
        images = exact[0](Z, c, truncation_psi=0.7)
        logits = exact[1](images, c)
        G, D = G.to(dtype), D.to(dtype)
        c = None if c is None else c.to(given)
        ours = G(Z.to(given), c, truncation_psi=0.7)
        expected = torch.float64 if dtype == torch.float64 else torch.float32
        assert ours.dtype == expected
        half = torch.bfloat16 in (dtype, given) or case["precision"] == "bfloat16"
        assert_close(ours, images, 0.15 if half else 0.02)
        theirs = D(images.to(given), c)
        assert theirs.dtype == expected
        assert_close(theirs, logits, 0.15 if half else 0.02)
        D(ours, c).mean().backward()
        assert all(p.grad.dtype == dtype for p in G.parameters() if p.grad is not None)
        meta = {"dataset": {"class_names": ["a", "b", "c"]}} if case["c_dim"] else {}
        pipe = Pipeline(Networks(config, meta, G_ema=G))
        out = pipe(seeds=[1, 2], truncation_psi=0.7)
        assert out.ws.dtype == expected and len(pipe(ws=out.ws).images) == 2


@pytest.mark.parametrize("c_dim", [0, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_default_dtype_of_float64(name, c_dim):
    try:
        torch.set_default_dtype(torch.float64)
        config = tiny(name, c_dim=c_dim)
        G, D, c = build_generator(config), build_discriminator(config), one_hot(c_dim)
        images = G(torch.randn(2, 8), c, truncation_psi=0.7)
        assert images.dtype == D(images, c).dtype == torch.float64
        step = TrainingStep(config, torch.device("cpu"), [0, 1, 2] if c_dim else None)
        reals = torch.rand(4, 3, 16, 16) * 2 - 1
        c = torch.eye(3)[[0, 1, 2, 0]] if c_dim else None
        step.step(reals, c)
        step.step(reals.float(), None if c is None else c.float())
        meta = {"dataset": {"class_names": ["a", "b", "c"]}} if c_dim else {}
        pipe = Pipeline(Networks(config, meta, G_ema=step.G_ema))
        assert pipe(seeds=[1]).ws.dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NAMES[:2])
def test_a_default_dtype_of_half_precision(name, dtype):
    try:
        torch.set_default_dtype(dtype)
        G, D = build_generator(tiny(name)), build_discriminator(tiny(name))
        logits = D(G(torch.randn(2, 8), truncation_psi=0.7))
        logits.mean().backward()
        assert logits.dtype == torch.float32 and next(G.parameters()).dtype == dtype
        pipe = Pipeline(Networks(tiny(name), {}, G_ema=G))
        assert pipe(seeds=[1]).ws.dtype == torch.float32
        with pytest.raises(UserError, match="training needs float32 or float64, not b?float16;"):
            TrainingStep(tiny(name), torch.device("cpu"))
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", NAMES[:2])
def test_a_training_step_and_a_pipeline_inside_of_autocast(name):
    config, G, _ = networks(name)
    step = TrainingStep(config, torch.device("cpu"))
    pipe = Pipeline(Networks(config, {}, G_ema=G))
    ws = pipe(seeds=[1, 2], truncation_psi=0.6).ws
    with torch.autocast("cpu", torch.bfloat16):
        step.step(torch.rand(4, 3, 16, 16))  # with R1, and path length in StyleGAN2
        assert torch.equal(pipe(seeds=[1, 2], truncation_psi=0.6).ws, ws)
    assert step.stats.means()["nonfinite_gradients"] == 0


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize(
    "name", ["stylegan2", pytest.param("stylegan3-t", marks=pytest.mark.thorough)]
)
def test_gradcheck_of_a_network_of_float64(name, backend):
    small = dict(channel_base=32, channel_max=4, z_dim=4, w_dim=4)
    _, G, D = networks(name, **small)
    G, D = G.double(), D.double()
    z = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    with stylegan_ops.backend(backend):
        assert torch.autograd.gradcheck(lambda z: D(G(z)), z)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["stylegan2", "stylegan3-t"])
def test_compiled_under_autocast(name):
    _, G, D = networks(name)
    G.requires_grad_(False), D.requires_grad_(False)
    expected = D(G(Z, truncation_psi=0.7))
    run = torch.compile(lambda z: D(G(z, truncation_psi=0.7)), fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(run(Z), expected, 1e-2)
    torch.compiler.reset()


def test_mixed_precision_of_the_network_stays_its_own():
    """Autocast does not change which blocks run in low precision."""
    _, G, _ = networks("stylegan2")
    seen = {}
    G.synthesis.b16.conv1.register_forward_hook(lambda m, i, y: seen.update(dtype=y.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        G(Z)
    assert seen["dtype"] == torch.float32


@pytest.mark.parametrize(
    "run, message",
    [
        (lambda G, D: D(torch.zeros(1, 3, 16, 16, dtype=torch.uint8)), "img: expected numbers in"),
        (lambda G, D: G(torch.zeros(1, 8, dtype=torch.complex64)), "z: expected real numbers, got"),
        (lambda G, D: G(Z.numpy()), r"z: expected a tensor \[N, 8\], got ndarray of shape"),
        (lambda G, D: G([[0.0] * 8]), r"z: expected a tensor \[N, 8\], got \[\["),
        (lambda G, D: D(Z.numpy()), r"img: expected a tensor \[N, C, H, W\], got ndarray of"),
        (lambda G, D: G(Z, truncation_psi=float("nan")), "truncation_psi: expected a finite"),
        (lambda G, D: G(Z, None, np.float32("nan")), "truncation_psi: expected a finite number"),
        (lambda G, D: G(Z, None, "0.5"), "truncation_psi: expected a finite number, got '0.5'"),
        (lambda G, D: G(Z, None, 0.5, -1), "truncation_cutoff: expected 0 or more, got -1"),
        (lambda G, D: G(Z, None, 0.5, 1.5), "truncation_cutoff: expected an integer, got 1.5"),
        (lambda G, D: G(torch.zeros(8)), r"z: expected \[N, 8\], got shape \[8\]"),
    ],
)
def test_refused_in_words(run, message):
    _, G, D = networks("stylegan2")
    with pytest.raises(ValueError, match=message):
        run(G, D)
