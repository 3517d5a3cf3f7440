# SPDX-License-Identifier: Apache-2.0
"""Settings of networks that take a step in milliseconds."""

from stylegan.presets import preset

TINY = dict(
    resolution=16,
    channel_base=128,
    channel_max=8,
    z_dim=8,
    w_dim=8,
    mapping_layers=2,
    batch=4,
    g_lr=0.002,
    d_lr=0.002,
    r1_gamma=1,
    pl_weight=2,
    ema_kimg=1,
    kimg=0.1,
)


def tiny(**fields):
    """A resolved config of networks that take a step in milliseconds."""
    return preset("stylegan2", **{**TINY, **fields}).resolved()
