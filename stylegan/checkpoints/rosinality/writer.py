# SPDX-License-Identifier: Apache-2.0
"""Writing the .pt of rosinality's stylegan2-pytorch, which pSp, e4e and others read too."""

import torch

from stylegan.checkpoints.rosinality.reader import OURS, PARTS, SHAPES, names_D, names_G
from stylegan.errors import UserError
from stylegan_ops import setup_filter

KEPT = ("conv_clamp", "low_precision_blocks", "w_avg_beta", "use_noise", "mbstd_group")


def write(networks, path):
    """Write g_ema and latent_avg, and g and d where there are any and they can be expressed.

    Args:
        networks: `Networks` with G_ema, of StyleGAN2 with the skip architecture and no classes.
        path: file.
    Returns: lines that say which programs can read it, and which not.
    Raises: UserError for networks that the format cannot express.
    """
    config = networks.config
    _check_expressible(config)
    content, averages = {}, {}
    for name, theirs in PARTS.items():
        network = getattr(networks, name)
        if network is None or name == "D" and not _has_their_discriminator(config.D):
            continue
        table = (names_D if name == "D" else names_G)(config)
        state = network.state_dict() | _no_noise(network)
        content[theirs] = {key: _theirs(state[ours], shape) for ours, key, shape in table}
        content[theirs] |= _kernels(config, name)
        if name != "D":
            averages[name] = state["mapping.w_avg"].cpu().clone()
    content["latent_avg"] = averages["G_ema"]
    kept = {part: _kept(getattr(config, part)) for part in ("G", "D")}
    content[OURS] = {**kept, "meta": networks.meta, "latent_avg": averages.get("G")}
    with open(path, "wb") as f:  # PyTorch's own file says nothing of a full disk
        torch.save(content, f)
    return readers(config, "d" in content)


def readers(config, with_d):
    """Lines that say who can read a written file."""
    G, D = config.G, config.D
    usual = G.widths is None and G.channel_max == 512 and G.channel_base in (16384, 32768)
    wrong = {
        f"{G.channels} channels, it has 3": G.channels != 3,
        f"z {G.z_dim} and w {G.w_dim}, it has 512": (G.z_dim, G.w_dim) != (512, 512),
        f"{G.mapping_layers} mapping layers, it has 8": G.mapping_layers != 8,
        f"{G.resolution[0]} px, it has 8 to 1024": not 8 <= G.resolution[0] <= 1024,
        "other channel counts than its own": not usual,
        "other filters than its own": tuple(G.resample_filter) != (1, 3, 3, 1),
    }
    reasons = [reason for reason, holds in wrong.items() if holds]
    lines = [_who("rosinality/stylegan2-pytorch, its generator", reasons)]
    if usual and G.channel_base != 32768:
        reasons.append("channel_base 16384, they have 32768")
    lines.append(_who("pSp, e4e and others with its generator", reasons))
    if G.conv_clamp is not None:
        lines.append(
            f"there, activations beyond {G.conv_clamp:g} are not clamped: rare, but pictures can "
            "differ"
        )
    if not with_d:
        lines.append("the discriminator is not in it")
    elif not _is_their_discriminator(G, D):
        lines.append("the discriminator is none of theirs: another layout than the generator's")
    return lines


def _is_their_discriminator(G, D):
    same = ("widths", "channel_base", "channel_max", "resample_filter")
    return D.mbstd_group == 4 and all(getattr(D, name) == getattr(G, name) for name in same)


def _who(program, reasons):
    return f"{program}: " + (f"no ({'; '.join(reasons)})" if reasons else "yes")


def _check_expressible(config):
    G = config.G
    wrong = None
    if G.model != "stylegan2" or G.architecture != "skip":
        wrong = f"StyleGAN2 with the skip architecture, and this is {G.title}"
    elif G.c_dim:
        wrong = f"networks without classes, and this has {G.c_dim}"
    elif G.resolution[0] != G.resolution[1] or G.resolution[0].bit_count() != 1:
        wrong = "squares whose side is a power of two"
    if wrong:
        raise UserError("rosinality's format", f"holds only {wrong}")


def _no_noise(network):
    """Noise inputs that add nothing, for a generator that has none."""
    if getattr(network.config, "use_noise", True):
        return {}
    names = {"synthesis.b4.conv1": 4}
    for size in network.synthesis.resolutions[1:]:
        names |= {f"synthesis.b{size}.conv{i}": size for i in (0, 1)}
    return {
        key: value
        for layer, size in names.items()
        for key, value in (
            (f"{layer}.noise_strength", torch.zeros(())),
            (f"{layer}.noise_const", torch.zeros(size, size)),
        )
    }


def _has_their_discriminator(D):
    return D.architecture == "resnet" and not D.c_dim and D.mbstd_channels == 1


def _theirs(tensor, shape):
    tensor = tensor.detach().cpu()
    return tensor.reshape(SHAPES[shape][0](tuple(tensor.shape))).contiguous()


def _kernels(config, name):
    """The filters that their modules keep beside the weights."""
    part = config.D if name == "D" else config.G
    kernel = setup_filter(part.resample_filter, separable=False)
    blocks = (part.resolution[0] // 4).bit_length() - 1
    keys = []
    for i in range(blocks):
        if name == "D":
            keys += [f"convs.{i + 1}.conv2.0.kernel", f"convs.{i + 1}.skip.0.kernel"]
        else:
            keys += [f"convs.{2 * i}.conv.blur.kernel", f"to_rgbs.{i}.upsample.kernel"]
    return {key: kernel * (1 if name == "D" else 4) for key in keys}


def _kept(part):
    return {name: getattr(part, name) for name in KEPT if hasattr(part, name)}
