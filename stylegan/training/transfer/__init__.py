# SPDX-License-Identifier: Apache-2.0
"""Transfer learning: a new run starts with another network's weights, as far as they fit.

units.py     layers, copied whole or not at all     labels.py    the mapping network
channels.py  layers to and from images              settings.py  structure from the other network
judgement.py what the table ends with         frozen.py    what may not start anew
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from stylegan.config import DiscriminatorConfig, GeneratorConfig, Stylegan3Config
from stylegan.errors import UserError
from stylegan.models.sizes import blocks_of
from stylegan.models.stylegan3_filters import geometry
from stylegan.networks import Networks, load_networks
from stylegan.training.step import TrainingStep
from stylegan.training.transfer import channels, judgement
from stylegan.training.transfer.frozen import check_fits
from stylegan.training.transfer.labels import Classes, copy_mapping
from stylegan.training.transfer.units import Part, State, block_of, copy_unit, trained, units
from stylegan.words import short

NetworkConfig = GeneratorConfig | Stylegan3Config | DiscriminatorConfig


@dataclass(frozen=True)
class Sides:
    """The same network on both sides."""

    here: NetworkConfig
    there: NetworkConfig
    classes_here: Classes
    classes_there: Classes


def transfer(
    model: TrainingStep,
    path: str | Path,
    class_names: Sequence[str] = (),
    label_names: Sequence[str] = (),
) -> list[str]:
    """Copy the weights of a network into those of a new run, where they fit.

    A layer is copied as a whole or starts anew. Labels go over by name. If the images have other
    channels, the layers that make and read them are converted.

    Args:
        model: a step that has not trained yet.
        path: as for `load_networks`. G and G_ema both start from its G_ema, which draws better and
            is then no other network than G; from its G if it has no average.
        class_names: of the new run; empty if its labels are vectors.
        label_names: of the numbers of its label vectors; empty without.
    Returns: lines of a table of what fits and what does not, with a judgement at the end.
    Raises: UserError if nothing fits, if a frozen part does not, or the file cannot be read.
    """
    nets = load_networks(path, "cpu")
    lines = [_title(nets), f"  {'part':28}{'fits':>12}"]
    G = nets.G_ema or nets.G
    found: dict[str, dict[str, Part]] = {}
    for name, source in (("G", G), ("G_ema", G), ("D", nets.D)):
        if source is None:
            unbuilt = nets.checkpoint is not None and name in nets.checkpoint.unbuilt
            why = "cannot be built here" if unbuilt else "not in the file"
            lines.append(f"  {name:28}{'none':>12}  {why}; starts from scratch")
            continue
        here = getattr(model, name)
        sides = Sides(
            here.config,
            source.config,
            _labels_here(here.config.c_dim, class_names, label_names),
            _labels_there(source.config.c_dim, nets),
        )
        found[name] = parts = copy_weights(here, source.state_dict(), sides)
        lines += [part.row(f"{name} {block}") for block, part in parts.items()]
    parts_of_all = [part for parts in found.values() for part in parts.values()]
    if not any(part.copied for part in parts_of_all):
        reasons = [reason for part in parts_of_all for reason in part.misfits]
        raise UserError(
            path,
            "nothing of it fits the new network (--init-from)"
            + judgement.why_nothing(reasons, nets.config, model.config),
        )
    check_fits(model.frozen, found)
    return lines + judgement.lines(found, nets.config, model.config)


def copy_weights(
    network: torch.nn.Module, source: dict[str, torch.Tensor], sides: Sides
) -> dict[str, Part]:
    """Copy the layers of `source` that fit into `network`. Returns: {block: `Part`}."""
    here, there = units(trained(network.state_dict())), units(trained(source))
    if isinstance(sides.here, Stylegan3Config) and isinstance(sides.there, Stylegan3Config):
        names = [f"synthesis.{geometry(side)[-1].name}" for side in (sides.there, sides.here)]
        there = _renamed(there, *names)
    copied: dict[str, Part] = {}
    for name in sorted(here, key=lambda name: name != "mapping"):  # on which D's output depends
        copied[name] = _copy(name, here[name], there.get(name, {}), sides, copied)
    parts: dict[str, Part] = {}
    for name in here:
        parts.setdefault(block_of(name), Part()).add(copied[name])
    for name in there.keys() - here.keys():
        parts.setdefault(block_of(name), Part()).misfits.append(f"no {_inside(name)} here")
    return parts


def _copy(name: str, layer: State, source: State, sides: Sides, copied: dict[str, Part]) -> Part:
    here, there = sides.here, sides.there
    if name == "mapping":
        z_dim = 0 if isinstance(here, DiscriminatorConfig) else here.z_dim
        return copy_mapping(layer, source, z_dim, sides.classes_here, sides.classes_there)
    if not source:
        return Part(0, len(layer), [f"no {_inside(name)} there"])
    if name == "b4.out" and (here.c_dim or there.c_dim):
        # The output of D is a product with the embedded label.
        if "mapping" not in copied or not copied["mapping"].whole:
            return Part(0, len(layer), ["out belongs to the labels"])
    if here.channels == there.channels:
        return copy_unit(layer, source)
    if name.endswith("fromrgb"):
        fitted = channels.from_image(source, there.channels, here.channels)
    elif _makes_image(name, here):
        alpha = _opaque(name, here)
        fitted = channels.to_image(source, there.channels, here.channels, alpha)
    else:
        return copy_unit(layer, source)
    part = copy_unit(layer, fitted)
    if part.whole:
        part.notes.append(f"{_inside(name)} {channels.note(there.channels, here.channels)}")
    return part


def _makes_image(name: str, config: NetworkConfig) -> bool:
    if isinstance(config, Stylegan3Config):
        return name == f"synthesis.{geometry(config)[-1].name}"
    return name.endswith("torgb")


def _opaque(name: str, config: NetworkConfig) -> float:
    """The bias of alpha in this layer, which makes the image opaque."""
    if isinstance(config, Stylegan3Config):
        return 1 / config.output_scale
    last = max(blocks_of(config))  # all blocks add to the image
    return float(name == f"synthesis.b{last}.torgb")


def _renamed(there: dict[str, State], old: str, new: str) -> dict[str, State]:
    """The layers of a StyleGAN3 with another name for the last, in which the channels of the image
    are. Only those may differ."""
    if old not in there or old.rsplit("_", 1)[0] != new.rsplit("_", 1)[0]:
        return there
    last = {new + key.removeprefix(old): value for key, value in there[old].items()}
    return {**{name: layer for name, layer in there.items() if name != old}, new: last}


def _inside(name: str) -> str:
    """The name of a layer inside its block."""
    return name.split(".")[-1]


def _labels_here(c_dim: int, class_names: Sequence[str], label_names: Sequence[str]) -> Classes:
    names = tuple(class_names or label_names)
    fits = len(names) == c_dim
    return Classes(c_dim, names if fits else (), fits and bool(c_dim and not class_names))


def _labels_there(c_dim: int, nets: Networks) -> Classes:
    if not c_dim:
        return Classes(0)
    vectors, names = nets.label_vectors, nets.class_names or nets.label_names
    are_vectors = vectors is not None or bool(nets.label_names)
    return Classes(c_dim, tuple(names) if len(names) == c_dim else (), are_vectors, vectors)


def _title(nets: Networks) -> str:
    height, width = nets.config.G.resolution
    seen = f"{short(nets.meta['kimg'])} kimg, " if "kimg" in nets.meta else ""
    c_dim = nets.config.G.c_dim
    vectors = nets.label_vectors is not None
    labels = f"label vectors of {c_dim}" if vectors else f"{c_dim or 'no'} classes"
    return (
        f"weights of {nets.path} ({seen}{width}x{height} px, {nets.config.G.channels} channels, "
        f"{labels}):"
    )
