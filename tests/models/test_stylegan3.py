# SPDX-License-Identifier: Apache-2.0
import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import stylegan_ops
from stylegan import build_generator, preset
from stylegan.config import Stylegan3Config
from stylegan.models.fold import fold_constants
from stylegan.models.stylegan3 import make_transform
from stylegan.models.stylegan3_filters import geometry

SMALL = dict(resolution=16, channel_base=128, channel_max=8, z_dim=8, w_dim=8)
KINDS = ("stylegan3-t", "stylegan3-r")
Z = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))


def small(kind="stylegan3-t", **fields):
    torch.manual_seed(0)
    G = build_generator(kind, **{**SMALL, **fields}).eval()
    torch.nn.init.normal_(G.synthesis.input.affine.weight, std=0.3)
    for name, buffer in G.named_buffers():
        if name.endswith("magnitude_ema"):
            buffer.fill_(0.7)
    return G


def names(**fields):
    return [g.name for g in geometry(Stylegan3Config(**fields))]


def test_layers_of_the_public_networks():
    assert names(resolution=1024) == (
        "L0_36_512 L1_36_512 L2_52_512 L3_52_512 L4_84_512 L5_148_512 L6_148_512 L7_276_323 "
        "L8_276_203 L9_532_128 L10_1044_81 L11_1044_51 L12_1044_32 L13_1024_32 L14_1024_3"
    ).split(" ")
    assert names(resolution=256, channel_base=16384)[7:] == (
        "L7_148_362 L8_148_256 L9_148_181 L10_276_128 L11_276_91 L12_276_64 L13_256_64 L14_256_3"
    ).split(" ")


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("resolution", [16, 32, 64, 128, 256, 512, 1024])
def test_every_resolution(resolution, channels):
    layers = geometry(Stylegan3Config(resolution=resolution, channels=channels))
    assert layers[0].before.rate == 16
    assert (layers[-1].after.size, layers[-1].after.channels) == (resolution, channels)
    assert layers[-1].padding == (0, 0)
    for g in layers:
        assert g.before.cutoff <= g.after.cutoff <= g.after.rate / 2
        assert g.up * g.before.rate == g.down * g.after.rate
        # What filtered_lrelu makes of the image after the convolution, which pads kernel - 1.
        grown = (g.before.size + g.kernel - 1) * g.up + sum(g.padding)
        assert (grown - (g.up_taps - 1) - (g.down_taps - 1) + g.down - 1) // g.down == g.after.size


@pytest.mark.parametrize("name, params", [("stylegan3-t", 22_313_167), ("stylegan3-r", 15_093_151)])
def test_parameter_counts(name, params):
    """Those of the public networks of 1024 px."""
    with torch.device("meta"):
        G = build_generator(name, resolution=1024, channel_base=32768)
    assert sum(p.numel() for p in G.parameters()) == params


def test_filters_pass_what_they_should():
    for g in geometry(Stylegan3Config(resolution=64, radial_filters=True)):
        for f, band in zip(g.filters(), (g.before, g.after)):
            if f is None:
                continue
            taps = f if f.ndim == 1 else f.sum(dim=0)
            rate = g.before.rate * g.up
            t = (torch.arange(len(taps)) - (len(taps) - 1) / 2) / rate
            stopped = min(band.cutoff + 1.5 * band.half_width, rate / 2)
            low, high = (
                (taps * (2 * math.pi * frequency * t).cos()).sum().item()
                for frequency in (max(band.cutoff - 1.5 * band.half_width, 0), stopped)
            )
            assert low == pytest.approx(1, abs=0.1) and abs(high) < 0.1, g.name
            torch.testing.assert_close(f, f.flip(list(range(f.ndim))))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels, c_dim", [(1, 0), (3, 3), (4, 0)])
def test_every_parameter_learns(kind, channels, c_dim):
    G = small(kind, channels=channels, c_dim=c_dim, mapping_layers=1).train()
    c = torch.eye(3)[[0, 2]] if c_dim else None
    images = G(Z, c, noise_mode="random")
    assert images.shape == (2, channels, 16, 16) and images.dtype == torch.float32
    images.square().sum().backward()
    for name, p in G.named_parameters():
        assert p.grad is not None and p.grad.abs().sum() > 0, name


@torch.no_grad()
def test_an_image_does_not_depend_on_its_neighbours():
    G = small()
    torch.testing.assert_close(G(Z)[1:], G(Z[1:]), atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_reference_and_native_kernels_agree(kind):
    G = small(kind)
    with stylegan_ops.backend("reference"):
        expected = G(Z)
    torch.testing.assert_close(G(Z), expected, atol=1e-4 * expected.abs().max().item(), rtol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_folding_keeps_images_and_weights(kind):
    G = small(kind)
    plain = copy.deepcopy(G)
    expected = G(Z)
    fold_constants(G)
    layer = G.synthesis.get_submodule(G.synthesis.layer_names[3])
    assert layer.folded.get(layer.weight) is not None
    torch.testing.assert_close(G(Z), expected, atol=1e-5, rtol=1e-4)
    for (name, ours), theirs in zip(G.state_dict().items(), plain.state_dict().values()):
        assert torch.equal(ours, theirs), name
    for buffer, p in zip(G.buffers(), plain.buffers()):
        if buffer.shape == (1,):  # a magnitude
            buffer.mul_(2), p.mul_(2)
    for ours, theirs in zip(G.parameters(), plain.parameters()):
        ours.mul_(1.1), theirs.mul_(1.1)
    torch.testing.assert_close(G(Z), plain(Z), atol=1e-5, rtol=1e-4)


@pytest.mark.thorough
@torch.no_grad()
def test_compiles_without_a_break_and_sees_a_new_transform():
    G = small()
    fold_constants(G)
    ws = G.mapping(Z)
    compiled = torch.compile(G.synthesis, backend="aot_eager", fullgraph=True, dynamic=False)
    for angle in (0, 30):
        G.synthesis.input.transform.copy_(make_transform(angle=angle))
        torch.testing.assert_close(compiled(ws), G.synthesis(ws), atol=1e-5, rtol=1e-4)
    torch.compiler.reset()


@torch.no_grad()
def test_low_precision_stays_close():
    exact = small(resolution=32)(Z)
    for precision, error in (("bfloat16", 0.1), ("float16", 0.02)):
        y = small(resolution=32, precision=precision)(Z)
        assert y.dtype == torch.float32
        assert 0 < (y - exact).abs().max() < error * exact.abs().max()


@torch.no_grad()
def test_layers_of_low_precision():
    config = replace(preset("stylegan3-t", resolution=1024).resolved().G, precision="bfloat16")
    with torch.device("meta"):
        synthesis = build_generator(config).synthesis
    low = [name for name in synthesis.layer_names if getattr(synthesis, name).low_precision]
    assert low[0] == "L5_148_512" and len(low) == 10  # 128 px and more


@torch.no_grad()
def test_magnitudes_move_only_when_asked():
    G = small(magnitude_ema_kimg=0.01)
    ws = G.mapping(Z)
    before = copy.deepcopy(G.state_dict())
    first = G.synthesis(ws)
    assert all(torch.equal(before[k], v) for k, v in G.state_dict().items())
    again = G.synthesis(ws, update_emas=True)
    after = G.state_dict()
    changed = [k for k, v in after.items() if not torch.equal(before[k], v)]
    assert len(changed) == 15 and all(k.endswith(".magnitude_ema") for k in changed)
    assert not torch.allclose(first, again)  # they are used as they are after it
    name = G.synthesis.layer_names[0]
    magnitude = G.synthesis.input(ws[:, 0]).square().mean()
    beta = 0.5 ** (2 / 10)  # two images; half of it forgotten after ten
    expected = beta * 0.7 + (1 - beta) * magnitude
    torch.testing.assert_close(after[f"synthesis.{name}.magnitude_ema"], expected[None])


def test_the_transform_is_the_inverse_of_the_motion():
    assert torch.equal(make_transform(), torch.eye(3, dtype=torch.float64))
    moved = make_transform(translate=(0.25, -0.5)) @ torch.tensor([0.0, 0, 1]).double()
    assert moved.tolist() == [-0.25, 0.5, 1]  # the middle shows what was to the left and below
    # Turned by 90 degrees, the point on the right shows what was at the bottom; y points down.
    turned = make_transform(angle=90) @ torch.tensor([1.0, 0, 1]).double()
    assert turned.tolist() == pytest.approx([0, 1, 1])
    both = make_transform(translate=(0.1, 0.2), angle=30)  # turned first, then moved
    apart = make_transform(angle=30) @ make_transform(translate=(0.1, 0.2))
    torch.testing.assert_close(both, apart)


@torch.no_grad()
def test_a_translation_moves_the_picture(radial):
    G, ws = radial
    still = G.synthesis(ws)
    for x, y in ((8, 0), (0, -6), (-3, 5)):
        G.synthesis.input.transform.copy_(make_transform(translate=(x / 32, y / 32)))
        moved, expected = G.synthesis(ws), still.roll((y, x), dims=(2, 3))
        inside = (slice(None), slice(None), *(slice(max(s, 0), 32 + min(s, 0)) for s in (y, x)))
        assert psnr(moved[inside], expected[inside]) > 40
    G.synthesis.input.transform.copy_(torch.eye(3))
    assert torch.equal(G.synthesis(ws), still)


@torch.no_grad()
def test_a_rotation_turns_the_picture_counter_clockwise(radial):
    G, ws = radial
    still = G.synthesis(ws)
    G.synthesis.input.transform.copy_(make_transform(angle=90))
    expected = torch.from_numpy(np.rot90(still.numpy(), axes=(2, 3)).copy())
    assert psnr(G.synthesis(ws), expected) > 40
    G.synthesis.input.transform.copy_(torch.eye(3))


def psnr(a, b):
    """dB, images spanning 2."""
    return -10 * ((a - b) / 2).square().mean().log10().item()


@pytest.mark.parametrize(
    "fields, message",
    [
        (dict(resolution=(32, 64)), "StyleGAN3 draws squares of 16, 32, 64, .*not 64x32; .* 32"),
        (dict(resolution=48), "not 48x48; the nearest is 64"),
        (dict(resolution=8), "not 8x8; the nearest is 16"),
        (dict(architecture="skip"), "Stylegan3Config: no field 'architecture'"),
        (dict(model="stylegan2"), "model: Stylegan3Config is not of stylegan2"),
    ],
)
def test_rejects(fields, message):
    with pytest.raises(ValueError, match=message):
        build_generator("stylegan3-t", **fields)


def test_settings():
    """Source: the published configurations."""
    for name in KINDS:
        c = preset(name, resolution=256, batch=32).resolved()
        assert type(c).from_dict(c.to_dict()) == c
        t = c.train
        assert (t.g_lr, t.d_lr, t.pl_weight, t.style_mixing) == (0.0025, 0.002, 0, 0)
        assert t.r1_gamma == pytest.approx(0.001 * 256**2 / 32) and t.ema_kimg == 10
        assert (c.G.mapping_layers, c.G.w_avg_beta, c.D.channel_max) == (2, 0.998, 512)
    assert (t.blur_sigma, t.blur_fade_kimg) == (10, 200)
    wide, plain = (preset(name, resolution=256).resolved() for name in KINDS[::-1])
    channels = [[g.after.channels for g in geometry(c.G)] for c in (wide, plain)]
    assert all(abs(a - 2 * b) <= 1 for a, b in list(zip(*channels))[:-1])
    assert wide.D == plain.D and preset("stylegan3-t").train.blur_sigma == 0
    old = preset("auto").resolved().to_dict()
    del old["G"]["model"]
    assert preset("auto").from_dict(old) == preset("auto").resolved()
    with pytest.raises(ValueError, match="g_architecture: stylegan3 has no such setting"):
        preset("stylegan3-t", g_architecture="skip")
