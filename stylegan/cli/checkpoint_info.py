# SPDX-License-Identifier: Apache-2.0
"""What `stylegan info` shows of another program's checkpoint."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # they take time, and `stylegan --help` needs none of them
    from stylegan.checkpoints.formats import Checkpoint
    from stylegan.config import GeneratorConfig, Stylegan3Config

MAX_LAYERS = 40  # shown of a network that cannot be built here


def checkpoint_rows(path: str | os.PathLike[str]) -> dict[str, Any]:
    """{name of a row: value} for a file."""
    from stylegan.checkpoints.open import open_checkpoint, sha256

    checkpoint = open_checkpoint(path)
    config, meta = checkpoint.config, checkpoint.meta
    rows = {"file": str(path), "format": checkpoint.format, "family": checkpoint.family}
    if config is None:
        rows["networks"] = f"cannot be built: {checkpoint.reason}"
        rows["images"] = _recorded_images(checkpoint)
    else:
        height, width = config.G.resolution
        rows["images"] = f"{width}x{height} px, {config.G.channels} channels"
    for name in ("G_ema", "G", "D"):
        rows[name] = _network(checkpoint, name)
    if config is not None and "G_ema" not in (checkpoint.tensors or {}):
        rows["G"] += "; draws the images, since there is no G_ema"
    if checkpoint.notes:
        rows["notes"] = "; ".join(checkpoint.notes)
    if config is None:
        rows["layers"] = _stored_layers(checkpoint)
    else:
        if "D" in (checkpoint.tensors or {}):
            rows["architecture"] = f"{config.G.title}; D {config.D.architecture}"
        rows["layers"] = layers(config.G)
        rows["latents"] = f"z {config.G.z_dim}, w {config.G.w_dim}"
        rows["classes"] = f"{config.G.c_dim}, by number" if config.G.c_dim else "none"
    rows |= training_rows(meta)
    if checkpoint.code:
        rows["source text"] = (
            f"{checkpoint.code:,} characters of Python in the file, which are not run"
        )
    rows["sha256"] = sha256(path)
    return rows


def training_rows(meta: dict[str, Any]) -> dict[str, str]:
    """What is known about the training of networks from another program's file."""
    rows = {}
    if "augment_p" in meta:
        rows["augmentation"] = f"p {meta['augment_p']:.4g}"
    if meta.get("arguments"):
        rows["training"] = _listed(meta["arguments"])
    rows["data"] = _listed(meta.get("dataset", {}).get("arguments") or {}) or "not recorded"
    return rows


def layers(config: GeneratorConfig | Stylegan3Config) -> str:
    """The layers of a generator and their channels, as text."""
    from stylegan.config import Stylegan3Config

    mapping = f"mapping {config.mapping_layers}; "
    if isinstance(config, Stylegan3Config):
        from stylegan.models.stylegan3_filters import geometry

        return mapping + ", ".join(g.name for g in geometry(config))
    from stylegan.models.sizes import blocks_of, channels_of

    return mapping + ", ".join(f"b{r} {channels_of(r, config)}" for r in blocks_of(config))


def _recorded_images(checkpoint: Checkpoint) -> str:
    size, channels = (checkpoint.recorded.get(name) for name in ("resolution", "channels"))
    parts = [f"{size}x{size} px"] * bool(size) + [f"{channels} channels"] * bool(channels)
    return ", ".join(parts) or "not recorded"


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _stored_layers(checkpoint: Checkpoint) -> str:
    """The layers of a generator that cannot be built here, by the names of its tensors."""
    tensors = checkpoint.stored.get("G_ema") or checkpoint.stored.get("G") or {}
    names = list(dict.fromkeys(re.split(r"[./](?=[^./]*$)", key)[0] for key in tensors))
    more = f" and {len(names) - MAX_LAYERS} more" if len(names) > MAX_LAYERS else ""
    return ", ".join(names[:MAX_LAYERS]) + more


def _network(checkpoint: Checkpoint, name: str) -> str:
    if name in checkpoint.unbuilt and checkpoint.reason is None:
        return f"cannot be built: {checkpoint.unbuilt[name]}"
    tensors = checkpoint.stored.get(name)
    if tensors is None:
        return "not in the file"
    if checkpoint.tensors is None:
        return f"{sum(a.numel for a in tensors.values()):,} numbers in {len(tensors):,} tensors"
    return f"{checkpoint.parameters(name):,} parameters"
