# SPDX-License-Identifier: Apache-2.0
"""Automatic settings fit each other, and settings that do not are warned of."""

import pytest
import torch
from support.tiny import tiny

from stylegan import preset
from stylegan.config import Config
from stylegan.config.numbers import group_count
from stylegan.models.layers import MinibatchStd
from stylegan.training.cautions import cautions

SIZES = [(480, 640), (768, 1280), (768, 768), (512, 384), (64, 64), (1024, 1024), (1088, 1920)]
SIZES += [(2048, 2048), (4096, 4096), (16, 16), (960, 960), (1344, 768)]


@pytest.mark.parametrize("mbstd_group", [4, 8, 3, None])
@pytest.mark.parametrize("resolution", SIZES)
def test_an_automatic_batch_has_whole_groups(resolution, mbstd_group):
    square = resolution[0] == resolution[1] and resolution[0] & (resolution[0] - 1) == 0
    for name in ("auto", "stylegan3-t") if square else ("auto",):
        for gpus in (1, 2, 3, 6, 8, 64):
            config = preset(name, resolution=resolution, mbstd_group=mbstd_group).resolved(gpus)
            batch, per_gpu = config.train.batch, config.train.batch_gpu
            assert batch == per_gpu * gpus and 2 <= per_gpu <= 32
            assert mbstd_group is None or per_gpu % mbstd_group == 0 or per_gpu < mbstd_group
            assert batch <= max(64, 2 * gpus)
            assert not [line for line in cautions(config, 10**6) if line.startswith("D ")]


@pytest.mark.parametrize("resolution, batch", [((480, 640), 4), ((720, 720), 4), ((256, 256), 16)])
def test_automatic_batches(resolution, batch):
    assert preset("auto", resolution=resolution).resolved().train.batch == batch


@pytest.mark.parametrize("batch_gpu", [1, 3, 5, 7, 40])
def test_an_automatic_batch_is_a_multiple_of_batch_gpu(batch_gpu):
    config = preset("auto", resolution=128, batch_gpu=batch_gpu).resolved()
    assert config.train.batch_gpu == batch_gpu and config.train.batch % batch_gpu == 0
    assert config.train.batch <= max(32, batch_gpu)


@pytest.mark.parametrize("n", range(2, 33))
@pytest.mark.parametrize("group", [2, 3, 4, 8, None])
def test_every_batch_has_a_deviation(n, group):
    count = group_count(n, group)
    smallest, largest = n // count, -(-n // count)
    assert smallest > 1
    if group and n % group == 0:
        assert smallest == largest == group  # as published
    elif group and n > group:  # as near as one can come
        assert max(group / smallest, largest / group) <= 1.5
    else:
        assert count == 1
    x = torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(n))
    appended = MinibatchStd(group)(x)[:, 3]
    assert (appended > 0.1).all()


@pytest.mark.parametrize(
    "n, sizes",
    [
        (1, [1]),
        (2, [2]),
        (3, [3]),
        (5, [5]),
        (6, [3, 3]),
        (7, [4, 3]),
        (9, [5, 4]),
        (10, [4, 3, 3]),
    ],
)
def test_batches_that_groups_of_4_do_not_divide(n, sizes):
    """The statistic by the formula, group by group, and that D's meaning of it stays."""
    x = torch.randn(n, 6, 3, 5, generator=torch.Generator().manual_seed(n))
    y = MinibatchStd(4)(x)[:, 6]
    for j, size in enumerate(sizes):
        members = torch.arange(j, n, len(sizes))
        assert len(members) == size
        std = (x[members].var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
        torch.testing.assert_close(y[members], std.expand(size, 3, 5))
    alike = MinibatchStd(4)(x[:1].expand(n, -1, -1, -1))[:, 6]
    torch.testing.assert_close(alike, torch.full_like(alike, 1e-4))
    if n > 2:  # near what groups of 4 give on average, which are 0.866 sigma of the population
        many = torch.randn(n, 2000, 1, 1, generator=torch.Generator().manual_seed(0))
        assert MinibatchStd(4)(many)[:, 2000].mean() == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("group", [1, 4, None])
def test_an_empty_batch_has_empty_statistics(group):
    assert MinibatchStd(group)(torch.zeros(0, 3, 4, 4)).shape == (0, 4, 4, 4)


def test_uneven_groups_have_all_derivatives():
    x = torch.randn(7, 2, 2, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(MinibatchStd(3), x)
    assert torch.autograd.gradgradcheck(MinibatchStd(3), x)


@pytest.mark.parametrize(
    "fields, why",
    [
        (dict(batch=4, batch_gpu=1), "one image at a time (--batch-gpu 1)"),
        (dict(batch=4, batch_gpu=1), "; --batch-gpu 4 lets it"),
        (dict(batch=10, batch_gpu=1), "; --batch-gpu 5 lets it"),  # 4 does not divide 10
        (dict(batch=2, batch_gpu=1, mbstd_group=8), "; --batch-gpu 2 lets it"),
        (dict(batch=1), "one image at a time (--batch 1)"),
        (dict(batch=1, mbstd_group=8), "; --batch 4 or more lets it"),
        (dict(batch=1, mbstd_group=1), "; --batch 4 or more lets it"),
        (dict(precision="float16", conv_clamp=None), "numbers up to 65504 only"),
        (dict(mbstd_group=1), "compares no images (--mbstd-group 1)"),
    ],
)
def test_a_batch_that_tells_nothing_is_warned_of(fields, why):
    (line,) = cautions(tiny(**fields), 10**6)
    assert why in line


@pytest.mark.parametrize(
    "fields",
    [
        *[dict(), dict(batch=5), dict(batch=10), dict(batch=10, batch_gpu=5), dict(batch=7)],
        dict(batch=1, mbstd_channels=0),
        dict(precision="float16", conv_clamp=256),
        dict(precision="bfloat16", conv_clamp=None),
    ],
)
def test_other_batches_are_not(fields):
    assert cautions(tiny(**fields), 10**6) == []


@pytest.mark.parametrize("images, start", [(1, "1 image for"), (3, "3 images for"), (4, None)])
def test_few_images_repeat(images, start):
    lines = [line for line in cautions(tiny(), images) if "for batches of" in line]
    assert [line.startswith(start) for line in lines] == [True] * (start is not None)


def test_config_resolves_by_itself():
    assert isinstance(Config().resolved(), Config)


@pytest.mark.parametrize(
    "images, fields, parts",
    [
        (999, dict(), ["999 images are few", "--mirror doubles them", "--init-from"]),
        (999, dict(mirror=True), ["999 images are few", "--init-from"]),
        (999, dict(aug="ada"), None),
        (99, dict(aug="ada"), ["99 images are few even with", "--mirror", "--init-from"]),
        (99, dict(init_from="net", aug="ada"), None),
        (1000, dict(), None),
    ],
)
def test_few_images_are_warned_of(images, fields, parts):
    lines = cautions(tiny(**fields), images)
    if parts is None:
        assert lines == []
    else:
        (line,) = lines
        assert all(part in line for part in parts)
        assert ("--mirror" in line) == ("mirror" not in fields)
