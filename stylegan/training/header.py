# SPDX-License-Identifier: Apache-2.0
"""What is printed before the first step."""

from __future__ import annotations

from collections.abc import Iterator

import torch

import stylegan_ops
from stylegan.config import Config
from stylegan.data.balance import balance_words, imbalance
from stylegan.data.dataset import ImageDataset
from stylegan.data.decode import KINDS
from stylegan.device import describe
from stylegan.training.augment import choice as augmentation
from stylegan.training.cautions import cautions
from stylegan.training.forecast import Proposal
from stylegan.training.free_memory import excess, free_memory_gb, with_less_memory
from stylegan.training.freeze import frozen_text
from stylegan.training.memory import estimate_memory_gb
from stylegan.training.step import TrainingStep
from stylegan.words import named_labels

MAX_NOTES = 5  # on what is unusual about the data
SLOWER = "two to three times slower"


def header(
    config: Config, dataset: ImageDataset, model: TrainingStep, device: torch.device
) -> list[str]:
    """Lines on data, networks, device, ops, memory and length, and warnings."""
    height, width = dataset.resolution
    kind = KINDS[dataset.channels]
    t = config.train
    free = free_memory_gb(device)
    frozen = frozen_text(model.frozen, model.G, model.D)
    needed = estimate_memory_gb(config, device) + cached_gb(config, dataset, device)
    rows = {
        "data": f"{dataset.path}",
        "images": f"{len(dataset):,}, {width}x{height} px, {kind}"
        + (", mirrored half of the time" if config.data.mirror else ""),
        **({"values": str(dataset.deep)} if dataset.deep else {}),
        "labels": _labels(config, dataset),
        "augment": augmentation.describe(t, len(dataset)),
        "G, D": f"{_millions(model.G)} and {_millions(model.D)} parameters; {config.G.title}",
        **({"frozen": frozen} if frozen else {}),
        "device": describe(device),
        "ops": _ops(device),
        "memory": f"about {needed:.1f} GB" + (f" of {free:.1f} GB free" if free else ""),
        "run": f"{t.kimg:g} kimg in batches of {t.batch}"
        + (f" ({t.batch_gpu} at a time)" if t.batch_gpu != t.batch else "")
        + (f", at most {t.minutes:g} minutes" if t.minutes else "")
        + f"; {t.loss} loss, R1 gamma {t.r1_gamma:.4g}"
        + (f", path length {t.pl_weight:g}" if t.pl_weight else ", no path length")
        + (f", blur {t.blur_sigma:g} px until {t.blur_fade_kimg:g} kimg" if t.blur_sigma else ""),
    }
    notes = list(dataset.notes)
    if len(notes) > MAX_NOTES:
        more = len(notes) - MAX_NOTES
        notes[MAX_NOTES:] = [f"and {more} more; stylegan info {dataset.path} shows all"]
    warnings = [
        *_memory(config, dataset, device, free),
        *cautions(config, len(dataset)),
        *_unequal(config, dataset),
        *notes,
    ]
    lines = [f"{name:8}{text}" for name, text in rows.items()]
    return lines + [f"warning {text}" for text in warnings]


def proposal_lines(found: list[Proposal]) -> list[str]:
    """A table of settings that take less time."""
    if not found:
        return []
    width = max(len(p.options) for p in found)
    lines = ["warning this takes too long on this machine; other settings, with their time:"]
    return lines + [f"        {p.options:{width}}  {p}" for p in found]


def cached_gb(config: Config, dataset: ImageDataset, device: torch.device) -> float:
    """Memory of the decoded images in the process that trains on a CPU."""
    return dataset.cache_bytes / 1e9 if device.type == "cpu" and not config.data.workers else 0


def _memory(
    config: Config, dataset: ImageDataset, device: torch.device, free: float | None
) -> Iterator[str]:
    cached = cached_gb(config, dataset, device)
    if free is None or not excess(config, device, free, cached):
        return
    fewer = with_less_memory(config, device, free, cached)
    if fewer:
        needed = estimate_memory_gb(fewer, device) + cached
        advice = f"--batch-gpu {fewer.train.batch_gpu} needs about {needed:.1f} GB"
    else:
        advice = "a smaller --resolution or --channel-base needs less"
    yield f"this needs more memory than the {free:.1f} GB that are free; {advice}"


def _labels(config: Config, dataset: ImageDataset) -> str:
    if not dataset.c_dim:
        return "none"
    names = dataset.labels.attributes if dataset.labels else ()
    what = named_labels(names) if names else f"label vectors of {dataset.c_dim} numbers"
    what = f"{dataset.c_dim} classes" if dataset.class_names else what
    used = "used" if config.data.cond else "not used (--cond uses them)"
    if config.data.balance_classes:
        used = "used" if config.data.cond else "not learned (--cond learns them)"
        used += f"; {balance_words(dataset)}"
    return f"{what}, {used}"


def _unequal(config: Config, dataset: ImageDataset) -> list[str]:
    """A warning of classes that the networks see seldom."""
    unequal = imbalance(dataset) if config.data.cond and not config.data.balance_classes else None
    return [unequal] if unequal else []


def _ops(device: torch.device) -> str:
    """Whether the compiled kernels are used, and if not, why."""
    if stylegan_ops.mode() == "reference":
        return f"PyTorch's own operations, {SLOWER} than compiled kernels (--ops reference)"
    if device.type not in ("cpu", "cuda"):
        return f"PyTorch's own operations; there are no compiled kernels for {device.type}"
    missing = stylegan_ops.load(device.type)
    if missing:
        return f"PyTorch's own operations, {SLOWER}: {missing}; stylegan doctor explains"
    return f"compiled kernels for this {'CPU' if device.type == 'cpu' else 'GPU'}"


def _millions(network: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f} M"
