# SPDX-License-Identifier: Apache-2.0
"""Numbers of NumPy and PyTorch in settings, and what is no number."""

import json

import numpy as np
import pytest
import torch

from stylegan import UserError, build_discriminator, build_generator, preset
from stylegan.config import Stylegan3Config
from stylegan.config.data import DataConfig
from stylegan.config.numbers import as_float, as_int, as_size, group_count

INTEGERS = [
    lambda n: n,
    np.int64,
    np.uint8,
    np.array,
    torch.tensor,
    lambda n: torch.tensor(n, dtype=torch.uint8),
    lambda n: np.array([n, n])[0],
]
FLOATS = [np.float64, np.float32, np.float16, np.array, torch.tensor, np.int32]


@pytest.mark.parametrize("kind", INTEGERS)
def test_integers(kind):
    assert as_int(kind(3)) == 3 and type(as_int(kind(3))) is int
    sizes = {"resolution": kind(16), "z_dim": kind(8), "w_dim": kind(8), "mapping_layers": kind(2)}
    G = build_generator("auto", **sizes, channel_base=kind(64), channel_max=kind(8), c_dim=kind(2))
    D = build_discriminator("auto", resolution=(kind(32), kind(16)), channel_max=kind(8))
    assert (G.config.resolution, G.z_dim, D.resolution) == ((16, 16), 8, (32, 16))
    config = preset("demo", batch=kind(4), seed=kind(3), r1_interval=kind(16), kimg=kind(2))
    assert config.train.batch == 4
    json.dumps(config.to_dict())  # as a snapshot writes it
    json.dumps(Stylegan3Config(num_layers=kind(6), resolution=kind(16)).margin)
    assert DataConfig(resolution=kind(16), max_images=kind(3)).resolution == (16, 16)


@pytest.mark.parametrize("kind", FLOATS)
def test_numbers(kind):
    assert as_float(kind(2)) == 2.0
    config = preset("auto", kimg=kind(2), conv_clamp=kind(256), r1_gamma=kind(1))
    assert (config.train.kimg, config.G.conv_clamp, config.train.r1_gamma) == (2, 256, 1)
    json.dumps(config.to_dict())


def test_lists():
    taps = np.array([1, 3, 3, 1])
    for form in (taps, torch.tensor(taps), list(taps), tuple(torch.tensor(taps))):
        config = preset("auto", resample_filter=form, widths=np.array([8, 8, 4]), resolution=16)
        assert config.G.resample_filter == (1, 3, 3, 1) and config.G.widths == (8, 8, 4)
        json.dumps(config.to_dict())
    assert as_size(np.array([16, 32])) == as_size(torch.tensor([16, 32])) == (16, 32)
    assert preset("auto", use_noise=np.bool_(False)).G.use_noise is False


@pytest.mark.parametrize(
    "value",
    [1.5, 8.0, np.float32(8), True, np.bool_(True), torch.tensor(True), np.nan, [8], 1j]
    + [np.array([8]), torch.tensor([8]), torch.tensor(8.0), None, object, b"8", {8}],
    ids=repr,
)
def test_no_integers(value):
    with pytest.raises(TypeError):
        as_int(value)
    with pytest.raises(UserError, match="z_dim: expected") as caught:
        build_generator("auto", resolution=16, z_dim=value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"resolution": 16.0}, "resolution: expected an int or"),
        ({"resolution": True}, "resolution: expected an int or"),
        ({"resolution": [16, 16, 16]}, "resolution: expected an int or"),
        ({"resolution": "16"}, "resolution: expected an int or"),
        ({"resolution": np.array([16.0, 16])}, "resolution: expected an int or"),
        ({"resolution": -16}, "resolution: expected an int or"),
        ({"c_dim": -1}, "c_dim: expected 0 or more, got -1"),
        ({"c_dim": 1.5}, "c_dim: expected an integer, got 1.5"),
        ({"channels": True}, "channels: expected an integer, got True"),
        ({"conv_clamp": np.nan}, "conv_clamp: expected a finite number, got nan"),
        ({"conv_clamp": np.float32("inf")}, "conv_clamp: expected a finite number, got"),
        ({"conv_clamp": -1}, "conv_clamp: expected 0 or more, got -1"),
        ({"z_dim": 0}, "z_dim: expected 1 or more in a network without labels, got 0"),
        ({"w_dim": 0}, "w_dim: expected 1 or more, got 0"),
        ({"channel_base": 0}, "channel_base: expected 1 or more, got 0"),
        ({"channel_max": -8}, "channel_max: expected 1 or more, got -8"),
        ({"w_avg_beta": 1j}, "w_avg_beta: expected a finite number, got 1j"),
        ({"use_noise": 1}, "use_noise: expected True or False, got 1"),
        ({"resample_filter": np.ones((2, 2))}, "resample_filter: the taps are not all finite"),
        ({"widths": np.array([8.0, 8, 8])}, "widths: expected channels of every block"),
    ],
    ids=str,
)
def test_refused(fields, message):
    with pytest.raises(UserError, match=message) as caught:
        build_generator("auto", **{"resolution": 16, **fields})
    assert "\n" not in str(caught.value)


def test_groups_of_no_size():
    assert [group_count(6, group) for group in (None, 0, 4, 1)] == [1, 1, 2, 6]
    assert group_count(0, None) == group_count(0, 4) == group_count(1, 4) == 1
    with pytest.raises(UserError, match="mbstd_group: expected 0 or more, got -1"):
        build_discriminator("auto", resolution=16, mbstd_group=-1)


@pytest.mark.parametrize("config", [None, {}, 3, torch.nn.Linear(1, 1)], ids=repr)
def test_settings_of_another_type(config):
    with pytest.raises(UserError, match="config: expected settings of a network, got"):
        build_generator(config)
