# SPDX-License-Identifier: Apache-2.0
"""Before the first step: settings that follow from the images, the device, and the header."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import torch

import stylegan
import stylegan_ops
from stylegan.config import Config
from stylegan.data.dataset import ImageDataset
from stylegan.data.decode import KINDS
from stylegan.data.loader import Batches
from stylegan.device import describe
from stylegan.errors import LabelError, UserError
from stylegan.models.sizes import blocks_of
from stylegan.runs.training_labels import about_dataset
from stylegan.threads import cpu_count
from stylegan.training.cautions import cautions
from stylegan.training.memory import estimate_memory_gb
from stylegan.training.step import TrainingStep

MAX_NOTES = 5  # in the header, on what is unusual about the data


def fit_to_data(config: Config, gpus: int = 1) -> tuple[Config, ImageDataset]:
    """Open the images of config.data and set everything that follows from them.

    Returns: a resolved config, whose networks have the size, channels and labels of the data; and
        the data.
    Raises: UserError if the images cannot be used or no network has their size.
    """
    dataset = open_data(config)
    return fitted(config, dataset, gpus), dataset


def open_data(config: Config) -> ImageDataset:
    """The images of config.data. Raises: UserError if they cannot be used."""
    data = config.data
    try:
        return ImageDataset(
            data.path,
            data.resolution,
            data.channels,
            data.max_images,
            config.train.seed,
            data.value_range,
            cond=data.cond,
            zip_encoding=data.zip_encoding,
        )
    except LabelError as e:
        raise LabelError(e.subject, f"{e.why}; without --cond labels are not used") from e


def fitted(config: Config, dataset: ImageDataset, gpus: int = 1) -> Config:
    """A resolved config, whose networks have the size, channels and labels of the images.

    Raises: UserError if no network has their size.
    """
    data = config.data
    if data.cond and not dataset.c_dim:
        why = "has no labels to train on (--cond): no dataset.json, no folder per class"
        raise UserError(dataset.path, "; ".join([why, *dataset.label_notes]))
    workers = data.workers
    if workers is None:
        workers = 0 if dataset.fits_in_memory else max(min(cpu_count(), 8), 1)
    shape: dict[str, Any] = {
        "resolution": dataset.resolution,
        "channels": dataset.channels,
        "c_dim": dataset.c_dim if data.cond else 0,
    }
    try:
        G, D = replace(config.G, **shape), replace(config.D, **shape)
        blocks_of(D)  # a size that a network can have
    except UserError as e:
        if e.subject != "resolution":
            raise
        raise UserError(dataset.path, f"{e} (--resolution crops and resizes)") from e
    data = replace(data, workers=workers, value_range=dataset.value_range)
    return replace(config, G=G, D=D, data=data).resolved(gpus)


def open_batches(
    config: Config,
    dataset: ImageDataset,
    device: torch.device,
    images_seen: int,
    warn: Callable[[str], None],
    stop: Callable[[], bool],
) -> Batches:
    """The batches of a run from `images_seen` on; `warn` and `stop` as for `Batches`."""
    return Batches(
        dataset,
        config.train.batch,
        config.train.seed,
        config.data.mirror,
        position=images_seen,
        workers=config.data.workers or 0,
        pin_memory=device.type == "cuda",
        warn=warn,
        stop=stop,
    )


def configure_device(device: torch.device, tf32: bool) -> None:
    """Configure PyTorch for training on `device`.

    TensorFloat-32 is for convolutions only. Matrix products are small, and demodulation needs their
    precision.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = tf32


def check_ops(device: torch.device) -> None:
    """Load the kernels for `device`, and build them if necessary.

    Raises: UserError on a GPU without its kernels, where training would be slow, unless the backend
        is "reference"; and if the backend is "native" and the kernels cannot be loaded.
    """
    if stylegan_ops.mode() == "reference":
        return
    missing = stylegan_ops.load(device.type)
    if missing and device.type == "cuda":
        raise UserError(
            "no CUDA kernels",
            f"{missing}; stylegan doctor shows what is missing, --ops reference "
            "trains without them, several times slower",
        )
    if missing and stylegan_ops.mode() == "native":
        raise UserError("backend native", f"no {device.type} kernels: {missing}")


def about(dataset: ImageDataset, device: torch.device) -> dict[str, Any]:
    """What run.json keeps besides the settings."""
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "dataset": about_dataset(dataset),
        "device": describe(device),
        "torch": torch.__version__,
        "stylegan": stylegan.__version__,
    }


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
