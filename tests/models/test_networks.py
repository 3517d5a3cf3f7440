# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from stylegan import UserError, build_discriminator, build_generator, preset
from stylegan.models.layers import MinibatchStd
from stylegan.models.sizes import block_resolutions

SMALL = dict(channel_base=256, channel_max=16)
G_SMALL = dict(**SMALL, z_dim=8, w_dim=12, mapping_layers=2)


def grads(network):
    return {name: p.grad for name, p in network.named_parameters()}


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("c_dim", [0, 3])
@pytest.mark.parametrize(
    "g_arch, d_arch", [("skip", "resnet"), ("resnet", "skip"), ("orig", "orig")]
)
def test_every_parameter_learns(g_arch, d_arch, c_dim, channels):
    torch.manual_seed(0)
    shape = dict(resolution=32, channels=channels, c_dim=c_dim)
    G = build_generator(**shape, **G_SMALL, architecture=g_arch)
    D = build_discriminator(**shape, **SMALL, architecture=d_arch)
    c = torch.eye(3)[[0, 2, 1, 0]] if c_dim else None
    images = G(torch.randn(4, 8), c, noise_mode="random")
    assert images.shape == (4, channels, 32, 32) and images.dtype == torch.float32
    logits = D(images, c)
    assert logits.shape == (4, 1)
    logits.square().sum().backward()
    for network in (G, D):
        for name, grad in grads(network).items():
            assert grad is not None and grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    "size", [(64, 96), (96, 64), (64, 16), (40, 24), (48, 48), (8, 8), (100, 60)]
)
def test_any_resolution(size):
    G = build_generator(resolution=size, **G_SMALL)
    D = build_discriminator(resolution=size, **SMALL)
    images = G(torch.randn(2, 8))
    assert images.shape == (2, 3, *size)
    assert D(images).shape == (2, 1)


def test_block_resolutions():
    assert block_resolutions((64, 64)) == {
        4: (4, 4),
        8: (8, 8),
        16: (16, 16),
        32: (32, 32),
        64: (64, 64),
    }
    assert list(block_resolutions((768, 1280)).items())[0] == (4, (3, 5))
    assert list(block_resolutions((1024, 1024))) == [4, 8, 16, 32, 64, 128, 256, 512, 1024]


@pytest.mark.parametrize(
    "size, nearest", [((101, 101), "nearest that can is 96x96"), ((1000, 999), "is 1024x1024")]
)
def test_a_resolution_that_cannot_be_halved_is_refused(size, nearest):
    with pytest.raises(ValueError, match=nearest):
        build_generator(resolution=size, **G_SMALL)


def test_noise_modes():
    G = build_generator(resolution=16, **G_SMALL).eval()
    for name, p in G.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.constant_(p, 0.5)
    z = torch.randn(2, 8)
    with torch.no_grad():
        const, again, none = G(z), G(z, noise_mode="const"), G(z, noise_mode="none")
        one, two = (
            G(z, noise_mode="random", generator=torch.Generator().manual_seed(s)) for s in (1, 1)
        )
        other = G(z, noise_mode="random", generator=torch.Generator().manual_seed(2))
    assert torch.equal(const, again) and torch.equal(one, two)
    assert not torch.allclose(const, none) and not torch.allclose(one, other)


def test_without_noise_inputs_every_mode_is_the_same():
    G = build_generator(resolution=16, **G_SMALL, use_noise=False).eval()
    assert not any("noise" in name for name in G.state_dict())
    z = torch.randn(1, 8)
    with torch.no_grad():
        assert torch.equal(G(z, noise_mode="const"), G(z, noise_mode="random"))


def test_truncation_psi_0_is_the_mean_and_the_cutoff_holds():
    G = build_generator(resolution=16, **G_SMALL)
    G.mapping.w_avg.normal_()
    z = torch.randn(3, 8)
    ws, mean = G.mapping(z), G.mapping(z, truncation_psi=0)
    torch.testing.assert_close(mean, G.mapping.w_avg.expand_as(mean))
    cut = G.mapping(z, truncation_psi=0, truncation_cutoff=2)
    torch.testing.assert_close(cut[:, :2], mean[:, :2])
    assert torch.equal(cut[:, 2:], ws[:, 2:])


def test_w_avg_follows_the_mean_of_w():
    G = build_generator(resolution=16, **G_SMALL, w_avg_beta=0.9)
    ws = G.mapping(torch.randn(64, 8))
    for _ in range(100):
        G.mapping.update_w_avg(ws[:, 0].mean(dim=0))
    torch.testing.assert_close(G.mapping.w_avg, ws[:, 0].mean(0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("group, count", [(4, 2), (None, 1), (3, 3)])  # 3 + 3 + 2
def test_minibatch_std_by_the_formula(group, count):
    x = torch.randn(8, 6, 3, 5)
    y = MinibatchStd(group, channels=2)(x)
    assert torch.equal(y[:, :6], x)
    for j in range(count):
        members = torch.arange(j, 8, count)
        std = (x[members].var(dim=0, unbiased=False) + 1e-8).sqrt()
        for f in range(2):
            expected = std[f * 3 : (f + 1) * 3].mean().expand(len(members), 3, 5)
            torch.testing.assert_close(y[members, 6 + f], expected)


def test_low_precision_blocks_stay_close_and_return_float32():
    torch.manual_seed(0)
    G = build_generator(resolution=64, **G_SMALL, precision="float32")
    half = build_generator(resolution=64, **G_SMALL, precision="bfloat16")
    half.load_state_dict(G.state_dict())
    z = torch.randn(2, 8)
    with torch.no_grad():
        exact, y = G(z), half(z)
    assert y.dtype == torch.float32
    assert 0 < (y - exact).abs().max() < 0.05 * exact.abs().max()
    D = build_discriminator(resolution=64, **SMALL, precision="bfloat16")
    assert D(y).dtype == torch.float32


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda G, D: G(torch.zeros(2, 7)), r"z: expected \[N, 8\], got shape \[2, 7\]"),
        (lambda G, D: G(torch.zeros(2, 8)), r"c: expected \[N, 3\], got None"),
        (
            lambda G, D: G(torch.zeros(1, 8), torch.zeros(1, 3), noise_mode="some"),
            "noise_mode: expected",
        ),
        (lambda G, D: G.synthesis(torch.zeros(1, 2, 12)), r"ws: expected \[N, 6, 12\]"),
        (lambda G, D: D(torch.zeros(1, 3, 8, 8)), r"img: expected \[N, 3, 16, 16\]"),
        (lambda G, D: D(torch.zeros(1, 3, 16, 16), torch.zeros(1, 4)), "takes no label"),
        (lambda G, D: build_generator("nope"), "preset: expected one of"),
        (lambda G, D: build_generator(colour=1), "no field 'colour'"),
        (lambda G, D: build_generator(architecture="unet"), "architecture: expected one of skip"),
        (lambda G, D: build_discriminator(channels=2), "channels: expected one of 1, 3, 4"),
    ],
)
def test_rejects(call, message):
    G = build_generator(resolution=16, c_dim=3, **G_SMALL)
    D = build_discriminator(resolution=16, **SMALL)
    with pytest.raises(ValueError, match=message):
        call(G, D)


@pytest.mark.parametrize(
    "name", ["auto", "stylegan2", "paper256", "paper512", "paper1024", "demo", "demo64"]
)
def test_presets_are_frozen_and_survive_json(name):
    import dataclasses
    import json

    config = preset(name).resolved()
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert None not in (config.train.batch, config.train.r1_gamma, config.G.channel_base)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.train.batch = 3


def test_preset_numbers():
    def row(name, **fields):
        c = preset(name, **fields).resolved()
        t = c.train
        return (
            t.kimg,
            t.batch,
            c.D.mbstd_group,
            c.G.channel_base,
            t.g_lr,
            t.r1_gamma,
            t.ema_kimg,
            c.G.mapping_layers,
        )

    assert row("stylegan2") == (25000, 32, 4, 32768, 0.002, 10, 10, 8)
    assert row("paper1024") == (25000, 32, 4, 32768, 0.002, 2, 10, 8)
    assert row("paper256") == (25000, 64, 8, 16384, 0.0025, 1, 20, 8)
    assert row("paper512") == (25000, 64, 8, 32768, 0.0025, 0.5, 20, 8)
    gamma = pytest.approx(0.0002 * 256**2 / 16)
    assert row("auto", resolution=256) == (25000, 16, 4, 16384, 0.0025, gamma, 5, 2)
    assert row("auto", resolution=1024)[1:5] == (4, 4, 32768, 0.002)
    with pytest.raises(UserError, match="no setting 'nope'"):
        preset("auto", nope=1)


@pytest.mark.parametrize("build", [build_generator, build_discriminator])
@pytest.mark.parametrize(
    "taps, reason",
    [
        ((0,), "add up to 0"),
        ((1, -1), "add up to 0"),
        ((1, float("nan")), "are not all finite numbers"),
        ((1, float("inf")), "are not all finite numbers"),
        ((1, 10**400), "are not all finite numbers"),
        ((1, "3"), "are not all finite numbers"),
        ((), "are not a list of 1 to 64 numbers"),
        ((1,) * 65, "are not a list of 1 to 64 numbers"),
        (1, "are not a list of 1 to 64 numbers"),
    ],
)
def test_taps_of_no_filter(build, taps, reason):
    with pytest.raises(UserError) as e:
        build(**SMALL, resample_filter=taps)
    assert str(e.value) == f"resample_filter: the taps {reason}"


@pytest.mark.parametrize("model", ["stylegan2", "stylegan3-t"])
def test_no_mapping_layers(model):
    """Only a network without labels, whose z is as wide as w, can do without."""
    sizes = dict(SMALL, resolution=16, mapping_layers=0)
    G = build_generator(model, **sizes, z_dim=8, w_dim=8)
    assert G(torch.randn(2, 8)).shape == (2, 3, 16, 16)
    for fields in (dict(z_dim=8, w_dim=12), dict(z_dim=8, w_dim=8, c_dim=2)):
        with pytest.raises(UserError, match="mapping_layers: "):
            build_generator(model, **sizes, **fields)
    D = build_discriminator(**sizes, c_dim=2)
    assert D(torch.randn(2, 3, 16, 16), torch.eye(2)).shape == (2, 1)


@pytest.mark.parametrize("channels", [3, 32, -1])  # of 16
def test_statistics_of_features_that_cannot_be_divided(channels):
    with pytest.raises(UserError, match=f"0 or a divisor of 16, .*; got {channels}"):
        build_discriminator(resolution=16, **SMALL, mbstd_channels=channels)
    D = build_discriminator(resolution=16, **SMALL, mbstd_channels=16)
    assert D(torch.randn(2, 3, 16, 16)).shape == (2, 1)


@pytest.mark.parametrize("name", ["auto", "stylegan3-t"])
@pytest.mark.parametrize(
    "field, value",
    [
        ("kimg", None),
        ("kimg", "25"),
        ("r1_interval", [16]),
        ("max_images", "all"),
        ("mapping_layers", None),
        ("loss", None),
        ("precision", 16),
        ("resolution", None),
        ("resolution", 16.0),
        ("widths", 64),
        ("resample_filter", None),
    ],
)
def test_a_field_of_a_wrong_type(name, field, value):
    with pytest.raises(UserError, match=f"^{field}: .*expected|^{field}: the taps are not a list"):
        preset(name, **{field: value})
