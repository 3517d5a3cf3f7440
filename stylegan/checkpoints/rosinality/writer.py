# SPDX-License-Identifier: Apache-2.0
"""Writes the .pt of rosinality's stylegan2-pytorch, which pSp, e4e and others read too."""

from __future__ import annotations

import os
from typing import Any

import torch

from stylegan.checkpoints.formats import WritableNetworks
from stylegan.checkpoints.rosinality.names import OURS, PARTS, TensorName, names_of
from stylegan.config import Config, DiscriminatorConfig, GeneratorConfig, Stylegan3Config
from stylegan.errors import UserError
from stylegan.models.sizes import blocks_of
from stylegan_ops import setup_filter

KEPT = ("conv_clamp", "low_precision_blocks", "w_avg_beta", "use_noise", "mbstd_group")
TAPS = (1, 3, 3, 1)
CHANNEL_BASE, SMALL_CHANNEL_BASE, CHANNEL_MAX = 32768, 16384, 512  # of rosinality's programs


def write(networks: WritableNetworks, path: str | os.PathLike[str]) -> list[str]:
    """Write g_ema and latent_avg, and g and d if they exist and the format can express them.

    Args: networks: with G_ema or G, of StyleGAN2 with the skip architecture and without classes.
    Returns: lines that say which programs can read the file, and which not.
    Raises: UserError for networks that the format cannot express.
    """
    config = networks.config
    _check_expressible(config)
    content: dict[str, Any] = {}
    averages = {}
    for name, theirs in PARTS.items():
        network = getattr(networks, name)
        if network is None or name == "D" and not _has_their_layers(config.D):
            continue
        state = network.state_dict() | _no_noise(network)
        content[theirs] = {
            n.theirs: _their_tensor(state[n.ours], n) for n in names_of(name, config)
        }
        content[theirs] |= _kernels(config, name)
        if name != "D":
            averages[name] = state["mapping.w_avg"].cpu().clone()
    content["latent_avg"] = averages.get("G_ema", averages.get("G"))
    kept = {part: _kept(getattr(config, part)) for part in ("G", "D")}
    content[OURS] = {**kept, "meta": networks.meta, "latent_avg": averages.get("G")}
    with open(path, "wb") as f:  # given a path, torch.save does not report a full disk
        torch.save(content, f)
    return readers(config, "d" in content)


def readers(config: Config, with_d: bool) -> list[str]:
    """Lines that say which programs can read a written file.

    Args: with_d: whether the file contains the discriminator.
    """
    G, D = config.G, config.D
    assert isinstance(G, GeneratorConfig)
    bases = (SMALL_CHANNEL_BASE, CHANNEL_BASE)
    usual = G.widths is None and G.channel_max == CHANNEL_MAX and G.channel_base in bases
    differences = {
        f"{G.channels} channels, expected 3": G.channels != 3,
        f"z {G.z_dim} and w {G.w_dim}, expected 512": (G.z_dim, G.w_dim) != (512, 512),
        f"{G.mapping_layers} mapping layers, expected 8": G.mapping_layers != 8,
        f"{G.resolution[0]} px, expected 8 to 1024": not 8 <= G.resolution[0] <= 1024,
        "other channel counts": not usual,
        "other filters": tuple(G.resample_filter) != TAPS,
    }
    reasons = [reason for reason, differs in differences.items() if differs]
    lines = [_verdict("rosinality/stylegan2-pytorch, its generator", reasons)]
    if usual and G.channel_base != CHANNEL_BASE:
        reasons.append(f"channel_base {SMALL_CHANNEL_BASE}, expected {CHANNEL_BASE}")
    lines.append(_verdict("pSp, e4e and others with its generator", reasons))
    if G.conv_clamp is not None:
        lines.append(
            f"these programs do not clamp activations beyond {G.conv_clamp:g}: such activations "
            "are rare, but images can differ"
        )
    if not with_d:
        lines.append("the file does not contain the discriminator")
    elif not _fits_their_discriminator(G, D):
        lines.append(
            "these programs cannot read the discriminator: its layers differ from the generator's"
        )
    return lines


def _verdict(program: str, reasons: list[str]) -> str:
    return f"{program}: " + (f"no ({'; '.join(reasons)})" if reasons else "yes")


def _fits_their_discriminator(G: GeneratorConfig, D: DiscriminatorConfig) -> bool:
    same = ("widths", "channel_base", "channel_max", "resample_filter")
    return D.mbstd_group == 4 and all(getattr(D, name) == getattr(G, name) for name in same)


def _has_their_layers(D: DiscriminatorConfig) -> bool:
    return D.architecture == "resnet" and not D.c_dim and D.mbstd_channels == 1


def _check_expressible(config: Config) -> None:
    G = config.G
    wrong = None
    if not isinstance(G, GeneratorConfig) or G.architecture != "skip":
        wrong = f"StyleGAN2 with the skip architecture, got {G.title}"
    elif G.c_dim:
        wrong = f"networks without classes, got {G.c_dim} classes"
    elif G.resolution[0] != G.resolution[1] or max(blocks_of(G)) != G.resolution[0]:
        height, width = G.resolution
        wrong = f"squares whose side is a power of two, got {width}x{height}"
    if wrong:
        raise UserError(
            "rosinality's format",
            f"supports only {wrong}; a folder or a .pkl can hold this network",
        )


def _no_noise(network: Any) -> dict[str, torch.Tensor]:
    """Noise inputs that add nothing, for a generator without any."""
    if getattr(network.config, "use_noise", True):
        return {}
    names = {"synthesis.b4.conv1": 4}
    for size in network.synthesis.resolutions[1:]:
        names |= {f"synthesis.b{size}.conv{i}": size for i in (0, 1)}
    result = {}
    for layer, size in names.items():
        result[f"{layer}.noise_strength"] = torch.zeros(())
        result[f"{layer}.noise_const"] = torch.zeros(size, size)
    return result


def _their_tensor(tensor: torch.Tensor, name: TensorName) -> torch.Tensor:
    tensor = tensor.detach().cpu()
    return tensor.reshape(name.their_shape(tuple(tensor.shape))).contiguous()


def _kernels(config: Config, name: str) -> dict[str, torch.Tensor]:
    """The filters, which rosinality's modules store with the weights."""
    part = config.D if name == "D" else config.G
    assert not isinstance(part, Stylegan3Config)
    kernel = setup_filter(part.resample_filter, separable=False)
    blocks = (part.resolution[0] // 4).bit_length() - 1
    keys = []
    for i in range(blocks):
        if name == "D":
            keys += [f"convs.{i + 1}.conv2.0.kernel", f"convs.{i + 1}.skip.0.kernel"]
        else:
            keys += [f"convs.{2 * i}.conv.blur.kernel", f"to_rgbs.{i}.upsample.kernel"]
    return {key: kernel * (1 if name == "D" else 4) for key in keys}


def _kept(part: object) -> dict[str, Any]:
    return {name: getattr(part, name) for name in KEPT if hasattr(part, name)}
