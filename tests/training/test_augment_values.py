# SPDX-License-Identifier: Apache-2.0
"""The augmentation pipe against known-good numbers (`debug_percentile` fixes the draws)."""

import numpy as np
import pytest
import torch
from support.checks import FIXTURES

from stylegan import UserError
from stylegan.config.train import PIPE_NAMES
from stylegan.training.augment import PIPES, AugmentPipe, pipe_of

ONE = np.load(FIXTURES / "augment.npz")
MORE = np.load(FIXTURES / "augment-more.npz")
GEOM = ("scale", "rotate", "aniso", "xfrac")
MANY = {
    "cutout": ("cutout",),
    "color": PIPES["color"],
    "geom": GEOM,
    "bgcfc": (*PIPES["bgcf"], "cutout"),
    "r3gan": (*PIPES["bgc"], "cutout"),
}
SINGLE = [key for key in ONE.files if key != "x"]
SEVERAL = [key for key in MORE.files if "/" in key and not key.startswith("rate")]


def close(pipe, images, percentile, expected, atol=1e-4):
    y = pipe(torch.from_numpy(images), debug_percentile=percentile)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, torch.from_numpy(expected), rtol=0, atol=atol)


def test_there_are_fixtures():
    assert len(SINGLE) == 27 and len(SEVERAL) == 45


@pytest.mark.parametrize("key", SINGLE)
def test_each_transform(key):
    name, percentile = key.split("@")
    pipe = pipe_of(name) if name in PIPES else AugmentPipe(**{name: 1})
    atol = 1e-3 if name == "imgfilter" else 1e-4
    close(pipe, ONE["x"], float(percentile), ONE[key], atol)
    unchanged = ("xflip@0.2", "rotate90@0.2", "lumaflip@0.2")
    assert (np.abs(ONE[key] - ONE["x"]).max() < 0.01) == (key in unchanged)


@pytest.mark.parametrize("key", SEVERAL)
def test_transforms_together(key):
    name, rest = key.split("@")
    percentile, images = rest.split("/")
    strengths = dict.fromkeys(MANY[name], 1.0)
    if name == "r3gan":
        strengths |= dict.fromkeys(PIPES["color"], 0.5)
    close(AugmentPipe(**strengths), MORE[images], float(percentile), MORE[key])


def test_filters():
    pipe = AugmentPipe()
    np.testing.assert_allclose(pipe.bank.numpy(), MORE["bank"], atol=1e-6)
    low_pass = MORE["sym6"] / MORE["sym6"].sum()
    np.testing.assert_allclose(pipe.low_pass.numpy(), low_pass, atol=1e-7)


def test_pipes_of_the_command_line_exist():
    assert tuple(PIPES) == PIPE_NAMES
    assert "imgfilter=1" in repr(pipe_of("bgcf"))


@pytest.mark.parametrize("name", PIPES)
@pytest.mark.parametrize("shape", [(3, 1, 24, 24), (2, 3, 24, 40), (2, 4, 40, 24)])
def test_channels_and_shapes(name, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    pipe = pipe_of(name)
    y = pipe(x)
    assert y.shape == x.shape and y.isfinite().all()
    if shape[1] == 4:
        alpha = pipe(x, debug_percentile=0.7)[:, 3]
        kept = name in ("color", "filter", "noise")
        assert torch.equal(alpha, x[:, 3]) == kept


def test_color_of_rgba_is_that_of_rgb():
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    pipe = pipe_of("color")
    y = pipe(x, debug_percentile=0.3)
    torch.testing.assert_close(y[:, :3], pipe(x[:, :3], debug_percentile=0.3))


def test_two_channels_are_refused():
    with pytest.raises(ValueError, match="expected 1, 3 or 4 channels"):
        pipe_of("bgc")(torch.zeros(1, 2, 8, 8))


def test_small_images_cannot_be_filtered():
    x = torch.zeros(1, 3, 21, 64)
    with pytest.raises(UserError, match="needs images of 22 px or more, not 64x21"):
        pipe_of("filter")(x)
    assert pipe_of("filter")(torch.zeros(1, 3, 22, 22)).shape == (1, 3, 22, 22)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype):
    x = torch.from_numpy(ONE["x"])
    pipe = pipe_of("bgc")
    expected = pipe(x, debug_percentile=0.7)
    y = pipe(x.to(dtype), debug_percentile=0.7)
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), expected, rtol=0.02, atol=0.05)


def test_autocast_changes_nothing():
    x = torch.from_numpy(ONE["x"])
    pipe = pipe_of("bgcfnc")
    pipe.generator = torch.Generator().manual_seed(1)
    expected = pipe(x)
    pipe.generator.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(pipe(x), expected)


@pytest.mark.parametrize("name", ["bg", "color", "bgc"])
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_second_derivatives(name, backend):
    import stylegan_ops

    pipe = pipe_of(name)
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64, generator=g, requires_grad=True)
    augment = lambda x: pipe(x, debug_percentile=0.6)
    with stylegan_ops.backend(backend):
        # Matrices are of float32, so the function is not exactly linear in float64.
        assert torch.autograd.gradcheck(augment, (x,), fast_mode=True, atol=1e-4)
        assert torch.autograd.gradgradcheck(augment, (x,), fast_mode=True, atol=1e-4)


def test_no_transform_is_the_identity():
    x = torch.from_numpy(ONE["x"])
    assert torch.equal(AugmentPipe()(x), x)
    pipe = pipe_of("bgcfnc")
    pipe.p.zero_()
    assert torch.equal(pipe(x), x)


@pytest.mark.parametrize("strength", [-1, float("nan"), float("inf")])
def test_wrong_strengths(strength):
    with pytest.raises(ValueError, match="hue: expected a strength of 0 or more, got"):
        AugmentPipe(hue=strength)


@pytest.mark.parametrize(
    "images", [torch.zeros(3, 8, 8), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)]
)
def test_wrong_images(images):
    with pytest.raises(ValueError, match=r"images: expected floating \[N, C, H, W\]"):
        pipe_of("bgc")(images)


def test_no_images():
    assert pipe_of("bgcfnc")(torch.zeros(0, 3, 24, 24)).shape == (0, 3, 24, 24)
