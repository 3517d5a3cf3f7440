# SPDX-License-Identifier: Apache-2.0
"""The table of settings in which a saved run differs from what was asked for."""

from dataclasses import replace

import pytest
from support.tiny import tiny

from stylegan.cli import train
from stylegan.config import DataConfig
from stylegan.runs.folder import new_run_dir
from stylegan.runs.resume import Difference, differences, find_run


def rows_of(saved, wanted, name="stylegan2"):
    rows = differences(tiny(name, **saved), tiny(name, **wanted))
    return [(r.option, r.saved, r.wanted) for r in rows]


@pytest.mark.parametrize(
    "saved, wanted, rows",
    [
        ({"kimg": 1, "workers": 2}, {"kimg": 2, "workers": 0}, []),
        ({"channel_max": 8}, {"channel_max": 16}, [("--channel-max", "8", "16")]),
        ({}, {"g_channel_max": 16}, [("--g-channel-max", "8", "16")]),
        ({}, {"d_channel_max": 16}, [("--d-channel-max", "8", "16")]),
        (
            {},
            {"g_channel_max": 16, "d_channel_max": 4},
            [("--g-channel-max", "8", "16"), ("--d-channel-max", "8", "4")],
        ),
        ({}, {"g_architecture": "orig"}, [("--g-architecture", "skip", "orig")]),
        ({}, {"d_architecture": "orig"}, [("--d-architecture", "resnet", "orig")]),
        ({}, {"mapping_layers": 3}, [("--mapping-layers", "2", "3")]),
        ({}, {"d_mapping_layers": 3}, [("--d-mapping-layers", "8", "3")]),
        ({}, {"z_dim": 4}, [("--z-dim", "8", "4")]),
        ({}, {"resample_filter": (1, 2, 1)}, [("--resample-filter", "1,3,3,1", "1,2,1")]),
        ({}, {"resolution": (32, 16)}, [("--resolution", "16x16", "16x32")]),
        ({}, {"r1_gamma": 2}, [("--r1-gamma", "1", "2")]),
        ({}, {"conv_clamp": None}, [("--conv-clamp", "256", "no limit")]),
        ({}, {"mbstd_group": None}, [("--mbstd-group", "4", "the batch")]),
        ({}, {"ema_rampup": 0.05}, [("--ema-rampup", "off", "0.05")]),
        ({}, {"mirror": True}, [("--mirror", "off", "on")]),
        ({}, {"c_dim": 2, "cond": True}, [("classes", "0", "2"), ("--cond", "off", "on")]),
        (
            {},
            {"blur_sigma": 2},
            [("--blur-sigma", "0", "2"), ("--blur-fade-kimg", "-", "25.0")],
        ),
        ({"aug": "ada"}, {"aug": "ada", "ada_kimg": 50}, [("--ada-kimg", "500", "50")]),
        ({"aug": "fixed"}, {"aug": "fixed", "aug_p": 0.5}, [("--aug-p", "0.2", "0.5")]),
        (
            {"aug": "ada"},
            {"aug": "none", "ada_kimg": 50},
            [("--aug", "ada", "none"), ("--ada-kimg", "500", "50")],
        ),
        # Presets have values for --aug ada, which runs from before it do not have.
        ({}, {"ada_kimg": 50, "aug_p": 0.5, "aug_pipe": "bg", "diff_policy": "color"}, []),
    ],
)
def test_rows(saved, wanted, rows):
    assert rows_of(saved, wanted) == rows
    names = {option for p in train.command.params for option in (*p.opts, *p.secondary_opts)}
    assert {option for option, _, _ in rows} <= names | {"classes"}


def test_a_field_that_only_d_has():
    rows = rows_of({}, {"resample_filter": (1, 2, 1)}, "stylegan3-t")
    assert rows == [("--resample-filter", "1,3,3,1", "1,2,1")]


def test_settings_of_the_data():
    one, other = (replace(tiny(), data=DataConfig(channels=n, max_images=n)) for n in (None, 1))
    assert differences(one, other) == [
        Difference("--channels", "auto", "1"),
        Difference("--max-images", "all", "1"),
    ]


def test_the_images_and_the_network_of_the_start(tmp_path):
    new_run_dir(tmp_path, "a", tiny(), {})
    wanted = replace(tiny(), data=DataConfig(path="b.zip"))
    found = find_run(tmp_path, replace(wanted, train=replace(wanted.train, init_from="c")))
    assert found.differences == (
        Difference("--data", "faces", "b.zip"),
        Difference("--init-from", "-", "c"),
    )
