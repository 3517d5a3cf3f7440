# SPDX-License-Identifier: Apache-2.0
"""Settings that are known to work, by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stylegan.config.data import DataConfig
from stylegan.config.network import DiscriminatorConfig, GeneratorConfig, Stylegan3Config
from stylegan.config.run import Config
from stylegan.config.train import TrainConfig
from stylegan.errors import UserError


def preset(name: str, **fields: Any) -> Config:
    """The preset `name` with `fields` replaced: `preset("paper256", resolution=128, batch=16)`.

    Raises: UserError for a preset or a field that does not exist.
    """
    if name not in PRESETS:
        raise UserError("preset", f"expected one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name].with_fields(**fields)


def _paper(
    resolution: int,
    *,
    channel_base: int,
    batch: int,
    mbstd_group: int,
    lr: float,
    r1_gamma: float,
    ema_kimg: float,
    aug: str | None = None,
) -> Config:
    """A preset of the papers: 25000 kimg, 8 mapping layers."""
    size = (resolution, resolution)
    return Config(
        G=GeneratorConfig(resolution=size, channel_base=channel_base),
        D=DiscriminatorConfig(resolution=size, channel_base=channel_base, mbstd_group=mbstd_group),
        train=TrainConfig(batch=batch, g_lr=lr, d_lr=lr, r1_gamma=r1_gamma, ema_kimg=ema_kimg),
    ).with_fields(aug=aug, ada_kimg=None)


_AUTO = Config().with_fields(
    channel_base=None,
    mapping_layers=2,
    batch=None,
    g_lr=None,
    d_lr=None,
    r1_gamma=None,
    ema_kimg=None,
    ema_rampup=0.05,
    aug=None,
    ada_kimg=None,
)


def _stylegan3(**fields: Any) -> Config:
    """A preset of StyleGAN3. What `auto` derives from the resolution is derived here too."""
    config = replace(_AUTO, G=Stylegan3Config())
    common = dict(channel_base=None, g_lr=0.0025, d_lr=0.002, pl_weight=0, style_mixing=0)
    return config.with_fields(**common, **fields)


_DEMO = Config(
    # Without noise inputs: in so short a run the generator does not learn to ignore them where the
    # images are smooth.
    G=GeneratorConfig(
        channel_base=1024, channel_max=128, mapping_layers=2, conv_clamp=None, use_noise=False
    ),
    D=DiscriminatorConfig(channel_base=1024, channel_max=128, conv_clamp=None),
    # The labels say which faces have glasses, beards and hats. With them the network learns these
    # in half the time.
    data=DataConfig(resolution=(32, 32), mirror=True, cond=True),
    # Many small steps and a strong R1 penalty give shapes soonest. Of gamma 0.3, 1, 2, 3 the first
    # is too weak and the others are alike. Twice the channels or 64 px learn less in the same time.
    train=TrainConfig(
        kimg=48,
        minutes=13,
        batch=8,
        g_lr=0.0025,
        d_lr=0.0025,
        r1_gamma=2,
        pl_weight=0,
        style_mixing=0,
        ema_kimg=5,
        ema_rampup=0.05,
        ada_kimg=50,  # for --aug ada: p has to follow within the run
        grid_kimg=10,
        tick_kimg=2,
    ),
)

_DEMO64 = Config(
    G=GeneratorConfig(channel_base=8192, channel_max=256, mapping_layers=2),
    D=DiscriminatorConfig(channel_base=8192, channel_max=256),
    data=DataConfig(resolution=(64, 64), mirror=True, cond=True),
    train=TrainConfig(
        kimg=1000,
        minutes=13,
        batch=32,
        g_lr=0.0025,
        d_lr=0.0025,
        r1_gamma=1,
        ema_rampup=0.05,
        grid_kimg=100,
    ),
)

# For own pictures on a CPU or the GPU of a laptop: a quarter of the channels of auto, so a twelfth
# of its work. Many small steps and a strong R1 penalty give shapes soon, as in the demo. Path
# length and style mixing pay off in long runs only. A short average follows a short run.
_SMALL = _AUTO.with_fields(
    channel_base=4096,
    channel_max=128,
    kimg=1000,
    batch=16,
    r1_gamma=1,
    pl_weight=0,
    style_mixing=0,
    ema_kimg=5,
    ada_kimg=100,
    grid_kimg=20,
)

PRESETS = {
    "auto": _AUTO,
    "small": _SMALL,  # own pictures, 32 to 256 px, on a CPU or the GPU of a laptop
    "stylegan2": _paper(
        1024,
        channel_base=32768,
        batch=32,
        mbstd_group=4,
        lr=0.002,
        r1_gamma=10,
        ema_kimg=10,
        aug="none",
    ),
    "paper256": _paper(
        256, channel_base=16384, batch=64, mbstd_group=8, lr=0.0025, r1_gamma=1, ema_kimg=20
    ),
    "paper512": _paper(
        512, channel_base=32768, batch=64, mbstd_group=8, lr=0.0025, r1_gamma=0.5, ema_kimg=20
    ),
    "paper1024": _paper(
        1024, channel_base=32768, batch=32, mbstd_group=4, lr=0.002, r1_gamma=2, ema_kimg=10
    ),
    "stylegan3-t": _stylegan3(),
    "stylegan3-r": _stylegan3(conv_kernel=1, radial_filters=True, channel_factor=2, blur_sigma=10),
    "demo": _DEMO,  # 32 px, a quarter of an hour on two CPU cores
    "demo64": _DEMO64,  # 64 px, the same on a GPU
}
