# SPDX-License-Identifier: Apache-2.0
"""DiffAugment: values by hand, statistics of the draws, derivatives."""

import pytest
import torch

from stylegan import UserError
from stylegan.training.diffaugment import DiffAugment, diff_augment

ALL = "color,translation,cutout"
N = 4000


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=2, channels=3, height=16, width=24, dtype=torch.float32):
    return torch.rand(n, channels, height, width, generator=generator(1), dtype=dtype) * 2 - 1


def one_image(n, channels=3, height=16, width=24):
    return images(1, channels, height, width).expand(n, -1, -1, -1)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_color_by_the_formula(channels):
    """One transform after the other, as the paper names them."""
    x = images(5, channels, dtype=torch.float64)
    b, s, c = torch.rand(3, 5, 1, 1, 1, generator=generator()).double()
    y = x[:, :3] + (b - 0.5)
    if channels > 1:
        mean = y.mean(dim=1, keepdim=True)
        y = (y - mean) * (2 * s) + mean
    mean = y.mean(dim=(1, 2, 3), keepdim=True)
    y = (y - mean) * (c + 0.5) + mean
    out = diff_augment(x, "color", generator())
    torch.testing.assert_close(out[:, :3], y)
    assert torch.equal(out[:, 3:], x[:, 3:])


def test_statistics_of_color():
    x = torch.tensor([[0.5, -0.1], [-0.4, 0.2], [0.2, 0.3]]).view(1, 3, 1, 2).expand(N, 3, 1, 2)
    y = diff_augment(x, "color", generator()).double()
    x = x[:1].double()

    def near(values, low, high):
        assert low - 1e-4 < values.min() < low + 0.03 and high - 0.03 < values.max() < high + 1e-4
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.04)
        spread = (high - low) / 12**0.5
        assert values.std() == pytest.approx(spread, rel=0.04)

    near(y.mean(dim=(1, 2, 3)) - x.mean(), -0.5, 0.5)  # contrast and saturation keep the mean
    between = y.mean(dim=1).diff(dim=2) / x.mean(dim=1).diff(dim=2)  # two pixels: contrast alone
    near(between, 0.5, 1.5)
    inside = (y[:, 0] - y[:, 1]) / (x[:, 0] - x[:, 1])  # two channels: times saturation
    near(inside[:, 0, 0] / between[:, 0, 0], 0, 2)


@pytest.mark.parametrize("channels, height, width", [(1, 16, 10), (3, 8, 8), (4, 3, 12)])
def test_translation(channels, height, width):
    """Every shift occurs equally often, zeros come in, and all channels move together."""
    x = one_image(N, channels, height, width)
    y = diff_augment(x, "translation", generator())
    down, right = int(height / 8 + 0.5), int(width / 8 + 0.5)
    found = torch.zeros(N, dtype=torch.bool)
    share = 1 / ((2 * down + 1) * (2 * right + 1))
    for i in range(-down, down + 1):
        for j in range(-right, right + 1):
            expected = torch.zeros_like(x[0])
            rows = slice(max(i, 0), height + min(i, 0)), slice(max(-i, 0), height + min(-i, 0))
            cols = slice(max(j, 0), width + min(j, 0)), slice(max(-j, 0), width + min(-j, 0))
            expected[:, rows[0], cols[0]] = x[0][:, rows[1], cols[1]]
            same = (y == expected).flatten(1).all(dim=1)
            assert same.double().mean() == pytest.approx(share, abs=4.5 * (share / N) ** 0.5)
            found |= same
    assert found.all()


@pytest.mark.parametrize("height, width", [(16, 12), (6, 9), (8, 7), (1, 2)])
def test_cutout(height, width):
    """A rectangle of half the sides around a point of the image, which may cut it off."""
    y = diff_augment(torch.ones(N, 4, height, width), "cutout", generator())
    assert torch.equal(y, y[:, :1].expand_as(y)) and set(y.unique().tolist()) <= {0.0, 1.0}
    cut = y[:, 0] == 0
    rows, columns = cut.any(dim=2), cut.any(dim=1)
    assert torch.equal(cut, rows[:, :, None] & columns[:, None, :])  # a rectangle
    for covered, side in ((rows, height), (columns, width)):
        length = int(side / 2 + 0.5)
        count = covered.sum(dim=1)
        assert count.max() == length and count.min() >= length // 2
        gaps = covered.int().diff(dim=1).clamp(min=0).sum(dim=1) + covered[:, 0].int()
        assert (gaps <= 1).all()  # in one piece
        mean = covered.double().mean(dim=0)
        torch.testing.assert_close(mean, mean.flip(0), rtol=0, atol=0.05)  # no side is preferred
        centers = side + 1 - length % 2
        assert mean[side // 2] == pytest.approx(length / centers, abs=0.03)


@pytest.mark.parametrize("policy", ["color", "translation", "cutout", ALL, "cutout,color"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_derivatives(policy, channels):
    x = images(1, channels, 3, 4, torch.float64).requires_grad_()

    def run(x):
        return diff_augment(x, policy, generator(3))

    assert torch.autograd.gradcheck(run, x)
    assert torch.autograd.gradgradcheck(lambda x: run(x).square(), x)


def test_draws_come_from_the_generator_alone():
    x, augment = images(4), DiffAugment(ALL, generator(5))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, second = augment(x), augment(x)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(first, second)
    state = generator(5).get_state()
    augment.generator.set_state(state)
    assert torch.equal(augment(x), first) and torch.equal(augment(x), second)
    assert len({tuple(image.flatten().tolist()) for image in diff_augment(one_image(8))}) == 8


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("default", [torch.float32, torch.float64, torch.bfloat16])
def test_dtypes_and_layouts(dtype, default):
    x = images().contiguous(memory_format=torch.channels_last)
    expected = diff_augment(x, ALL, generator())
    try:
        torch.set_default_dtype(default)
        half = diff_augment(x.to(dtype), ALL, generator())
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(diff_augment(x.to(dtype), ALL, generator()), half)
    finally:
        torch.set_default_dtype(torch.float32)
    assert half.dtype == dtype
    torch.testing.assert_close(half.float(), expected, atol=0.02, rtol=0.01)


def test_an_empty_batch():
    assert diff_augment(images(2)[:0], ALL).shape == (0, 3, 16, 24)


@pytest.mark.parametrize("policy", ["", "colour", "color,", "color, cutout", "all"])
def test_unknown_names(policy):
    with pytest.raises(UserError, match="expected some of color, translation, cutout, got"):
        DiffAugment(policy)
    with pytest.raises(UserError, match="diff_policy"):
        diff_augment(images(), policy)


@pytest.mark.parametrize(
    "x", [torch.zeros(3, 8, 8), torch.zeros(1, 2, 8, 8), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)]
)
def test_wrong_images(x):
    with pytest.raises(ValueError, match="images: expected floating point"):
        diff_augment(x)
