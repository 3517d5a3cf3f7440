# SPDX-License-Identifier: Apache-2.0
"""Writes networks as a .pkl in the layout of NVIDIA's StyleGAN3 repository, without any code in it.

NVIDIA's own files carry the source text of every module, which their loader runs. These files hold
the attributes and tensors of the modules and, for each module, the name of its class. The program
that loads them supplies the classes. They can be read by

- this package;
- NVIDIA's stylegan3 repository and programs derived from it, run from their folder, so that
  `training.networks_stylegan2` and `training.networks_stylegan3` are found there. That follows from
  the published layout. It was never tried with their code, whose licence keeps it out of here.
  Their loader requires D, so only programs that read G_ema alone can open a file without D;
- not NVIDIA's StyleGAN2-ADA repository, where these modules have other names.
"""

from __future__ import annotations

import os
from typing import Any

from stylegan.checkpoints.formats import WritableNetworks
from stylegan.checkpoints.nvidia.arguments import NetworkConfig
from stylegan.checkpoints.nvidia.discriminator import discriminator_object
from stylegan.checkpoints.nvidia.generator import generator_object
from stylegan.checkpoints.pickle.writer import Object, Writable, dump
from stylegan.errors import UserError
from stylegan.files import whole_file

READERS = (
    "stylegan, and NVIDIA's stylegan3 repository or programs derived from it when run from their "
    "folder (by its published layout; not tried); not stylegan2-ada-pytorch"
)
DEFAULT_BATCH = 32


def write(networks: WritableNetworks, file: str | os.PathLike[str] | Writable) -> list[str]:
    """Write G, D and G_ema, tensor by tensor.

    If one of G and G_ema is missing, the other is written in its stead. D may be missing. NVIDIA's
    smallest block always runs in float32, and the other low-precision blocks in float16. Networks
    of another `precision` are written without low-precision blocks.

    Args: file: a path, where the file appears once it is complete, or a binary file.
    Returns: lines that say which programs can read the file, and what it lacks.
    Raises: UserError for what NVIDIA's classes cannot express; nothing is written then.
    """
    root = _root(networks)
    if isinstance(file, (str, os.PathLike)):
        with whole_file(file) as part, part.open("wb") as f:
            dump(root, f)
    else:
        dump(root, file)
    return readers(networks)


def readers(networks: WritableNetworks) -> list[str]:
    """Lines that say which programs can read a written file, and what it lacks."""
    lines = [f"read by {READERS}"]
    if networks.D is None:
        lines.append(
            "it contains no discriminator, which NVIDIA's loader requires: only programs that read "
            "G_ema alone can open it"
        )
    if networks.meta.get("augment_p"):
        lines.append(f"it does not contain the state of ADA (p {networks.meta['augment_p']:.3g})")
    return lines


def _root(networks: WritableNetworks) -> dict[str, Any]:
    found = {name: getattr(networks, name) for name in ("G", "G_ema")}
    generators = {name: G for name, G in found.items() if G is not None}
    if not generators:
        raise UserError("G", "expected networks with a generator, got none")
    batch = networks.config.train.batch or DEFAULT_BATCH
    written = {name: generator_object(G, batch) for name, G in generators.items()}
    only: Object = next(iter(written.values()))
    return {
        "training_set_kwargs": _data(networks, next(iter(generators.values())).config),
        "G": written.get("G", only),
        "D": None if networks.D is None else discriminator_object(networks.D),
        "G_ema": written.get("G_ema", only),
        "augment_pipe": None,
    }


def _data(networks: WritableNetworks, config: NetworkConfig) -> dict[str, Any]:
    """Arguments of the data set: those of NVIDIA's file, if the networks came from one."""
    about = networks.meta.get("dataset") or {}
    arguments = about.get("arguments") or {}
    if "class_name" in arguments:
        return dict(arguments)
    return {
        "class_name": "training.dataset.ImageFolderDataset",
        "path": about.get("name"),
        "use_labels": config.c_dim > 0,
        "max_size": about.get("images"),
        "xflip": networks.config.data.mirror,
        "resolution": config.resolution[0],
    }
