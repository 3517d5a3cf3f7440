# SPDX-License-Identifier: Apache-2.0
"""What is printed before the first step."""

from __future__ import annotations

import torch

import stylegan_ops
from stylegan.config import Config
from stylegan.data.dataset import ImageDataset
from stylegan.data.decode import KINDS
from stylegan.device import describe
from stylegan.training.cautions import cautions
from stylegan.training.memory import estimate_memory_gb
from stylegan.training.step import TrainingStep

MAX_NOTES = 5  # on what is unusual about the data


def header(
    config: Config, dataset: ImageDataset, model: TrainingStep, device: torch.device
) -> list[str]:
    """Lines to print before the first step: data, networks, device, ops, memory, length."""
    height, width = dataset.resolution
    kind = KINDS[dataset.channels]
    t = config.train
    cached = dataset.cache_bytes / 1e9 if device.type == "cpu" and not config.data.workers else 0
    rows = {
        "data": f"{dataset.path}",
        "images": f"{len(dataset):,}, {width}x{height} px, {kind}"
        + (", mirrored half of the time" if config.data.mirror else ""),
        **({"values": str(dataset.deep)} if dataset.deep else {}),
        "labels": _labels(config, dataset),
        "G, D": f"{_millions(model.G)} and {_millions(model.D)} parameters; {config.G.title}",
        "device": describe(device),
        "ops": _backends(device),
        "memory": f"about {estimate_memory_gb(config, device) + cached:.1f} GB",
        "run": f"{t.kimg:g} kimg in batches of {t.batch}"
        + (f" ({t.batch_gpu} at a time)" if t.batch_gpu != t.batch else "")
        + (f", at most {t.minutes:g} minutes" if t.minutes else "")
        + f"; {t.loss} loss, R1 gamma {t.r1_gamma:.4g}"
        + (f", path length {t.pl_weight:g}" if t.pl_weight else ", no path length")
        + (f", blur {t.blur_sigma:g} px until {t.blur_fade_kimg:g} kimg" if t.blur_sigma else ""),
    }
    notes = list(dataset.notes)
    if dataset.c_dim and not config.data.cond and config.data.path is not None:
        notes.insert(0, f"the images have {_labels(config, dataset)}")
    if len(notes) > MAX_NOTES:
        more = len(notes) - MAX_NOTES
        notes[MAX_NOTES:] = [f"and {more} more; stylegan info {dataset.path} shows all"]
    lines = [f"{name:8}{text}" for name, text in rows.items()]
    return lines + [f"warning {note}" for note in [*cautions(config, len(dataset)), *notes]]


def _labels(config: Config, dataset: ImageDataset) -> str:
    if not dataset.c_dim:
        return "none"
    vectors = f"label vectors of {dataset.c_dim} numbers"
    what = f"{dataset.c_dim} classes" if dataset.class_names else vectors
    return f"{what}, used" if config.data.cond else f"{what}, not used (--cond uses them)"


def _backends(device: torch.device) -> str:
    by_backend: dict[str, list[str]] = {}
    for op, devices in stylegan_ops.info().items():
        status = devices.get(device.type, {"backend": "reference"})
        by_backend.setdefault(status["backend"], []).append(op)
    return "; ".join(f"{backend}: {' '.join(ops)}" for backend, ops in by_backend.items())


def _millions(network: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f} M"
