# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from stylegan import build_discriminator, build_generator


@torch.no_grad()
def test_w_and_images(known):
    z, c = known.values["z"], known.values["c"]
    ws = known.G.mapping(z, c)
    known.check("w", ws)
    known.check("img", known.G.synthesis(ws, noise_mode="const"))


@torch.no_grad()
def test_truncation(known):
    z, c = known.values["z"], known.values["c"]
    cutoff = 5 if known.G.num_ws >= 6 else None
    known.check("w_psi07", known.G.mapping(z, c, truncation_psi=0.7, truncation_cutoff=cutoff))
    known.check("img_psi07", known.G(z, c, truncation_psi=0.7, truncation_cutoff=cutoff))


@torch.no_grad()
def test_logits(known):
    if not known.D:
        pytest.skip("no discriminator in the file")
    known.check("logits", known.D(known.values["img"], known.values["c"]))


@pytest.mark.parametrize(
    "resolution, channel_base, g_count, d_count",
    [(1024, 32768, 30_370_060, 29_012_513), (256, 16384, 24_767_458, 24_001_089)],
)
def test_parameter_counts(resolution, channel_base, g_count, d_count):
    with torch.device("meta"):
        G = build_generator("stylegan2", resolution=resolution, channel_base=channel_base)
        D = build_discriminator("stylegan2", resolution=resolution, channel_base=channel_base)
    assert sum(p.numel() for p in G.parameters()) == g_count
    assert sum(p.numel() for p in D.parameters()) == d_count
