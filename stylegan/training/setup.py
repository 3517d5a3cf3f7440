# SPDX-License-Identifier: Apache-2.0
"""Before the first step: settings that follow from the images, and the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import torch

import stylegan
import stylegan_ops
from stylegan.config import Config
from stylegan.data.balance import check_balance
from stylegan.data.dataset import ImageDataset
from stylegan.data.loader import Batches
from stylegan.device import describe
from stylegan.errors import LabelError, UserError
from stylegan.models.sizes import blocks_of
from stylegan.runs.training_labels import about_dataset
from stylegan.threads import cpu_count
from stylegan.training.augment.choice import check_size
from stylegan.training.freeze import check_frozen


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
    if data.balance_classes:
        check_balance(dataset)
    workers = data.workers
    if workers is None:
        workers = 0 if dataset.fits_in_memory else max(min(cpu_count(), 8), 1)
    shape: dict[str, Any] = {
        "resolution": dataset.resolution,
        "channels": dataset.channels,
        "c_dim": dataset.c_dim if data.cond else 0,
    }
    try:
        config = _shaped(config, shape)
    except UserError as e:
        if e.subject != "resolution":
            raise
        raise UserError(dataset.path, f"{e} (--resolution crops and resizes)") from e
    check_frozen(config)
    data = replace(data, workers=workers, value_range=dataset.value_range)
    config = replace(config, data=data).resolved(gpus, len(dataset))
    check_size(config.train, *dataset.resolution)
    return config


def resized(config: Config, like: Config, resolution: tuple[int, int]) -> Config:
    """A resolved config for the data of `like` at another resolution, (height, width) in px.

    Raises: UserError if no network has that size.
    """
    of_data: dict[str, Any] = {"channels": like.G.channels, "c_dim": like.G.c_dim}
    return _shaped(config, {"resolution": resolution, **of_data}).resolved()


def _shaped(config: Config, shape: dict[str, Any]) -> Config:
    """`config` with these fields in both networks. Raises: UserError on a size that none has."""
    G, D = replace(config.G, **shape), replace(config.D, **shape)
    blocks_of(D)
    return replace(config, G=G, D=D)


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
        balance=config.data.balance_classes,
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
