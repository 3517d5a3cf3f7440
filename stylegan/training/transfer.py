# SPDX-License-Identifier: Apache-2.0
"""Beginning a run with another network's weights, as far as they fit."""

from stylegan.errors import UserError
from stylegan.networks import load_networks


def transfer(model, path):
    """Copy the weights of a network into those of a new run, by name, where the shapes agree.

    Args:
        model: a `TrainingStep` that has not trained yet.
        path: as for `load_networks`. Without G in it, G starts from G_ema too.
    Returns: lines of a table, what fits and what not.
    Raises: UserError if nothing fits, or it cannot be read.
    """
    nets = load_networks(path, "cpu")
    height, width = nets.config.G.resolution
    trained = f"{nets.meta['kimg']:g} kimg, " if "kimg" in nets.meta else ""
    lines = [
        f"weights of {nets.path} ({trained}{width}x{height} px, "
        f"{nets.config.G.channels} channels, {nets.config.G.c_dim or 'no'} classes):",
        f"  {'part':28}{'fits':>12}",
    ]
    taken = 0
    for name, source in (("G", nets.G or nets.G_ema), ("G_ema", nets.G_ema), ("D", nets.D)):
        if source is None:
            lines.append(f"  {name:28}{'none':>12}  not in the file; begins anew")
            continue
        parts = _copy(getattr(model, name), source.state_dict())
        taken += sum(part["fits"] for part in parts.values())
        for part, row in parts.items():
            count = f"{row['fits']} of {row['all']}" if row["all"] else "-"
            lines.append(f"  {name + ' ' + part:28}{count:>12}  {'; '.join(row['why'])}".rstrip())
    if not taken:
        raise UserError(path, "nothing of it fits the new network (--init-from)")
    return lines


# What follows from the settings of a network, not from its training: filters of StyleGAN3, which
# have the same names and shapes at other resolutions, but other frequencies. And where its pictures
# lie.
OWN = ("up_filter", "down_filter", "transform")


def _copy(network, source):
    """{part: {"fits", "all", "why"}}, a part being a block of the network."""
    parts = {}
    target = {k: v for k, v in network.state_dict().items() if k.split(".")[-1] not in OWN}
    source = {k: v for k, v in source.items() if k.split(".")[-1] not in OWN}
    for key, value in target.items():
        row = parts.setdefault(_part(key), {"fits": 0, "all": 0, "why": []})
        row["all"] += 1
        if key not in source:
            row["why"].append(f"no {_rest(key)} there")
        elif source[key].shape != value.shape:
            there, here = list(source[key].shape), list(value.shape)
            row["why"].append(f"{_rest(key)} is {there} there, {here} here")
        else:
            value.copy_(source[key])
            row["fits"] += 1
    for key in source:
        if key not in target:
            row = parts.setdefault(_part(key), {"fits": 0, "all": 0, "why": []})
            row["why"].append(f"no {_rest(key)} here")
    for row in parts.values():
        row["why"] = row["why"][:2] + ([f"{len(row['why']) - 2} more"] if row["why"][2:] else [])
    return parts


def _part(key):
    """The block that a tensor belongs to: mapping, synthesis.b64, b64."""
    return ".".join(key.split(".")[: 2 if key.startswith("synthesis.") else 1])


def _rest(key):
    return key.removeprefix(_part(key) + ".")
