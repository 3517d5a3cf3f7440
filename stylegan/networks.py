# SPDX-License-Identifier: Apache-2.0
"""Networks, and the snapshot folder or the file of another program that holds them.

    config.json          format, settings, kimg, data set with class names
    G_ema.safetensors    what inference needs
    labels.safetensors   label vectors of some of the training images, if labels are vectors
    G.safetensors, D.safetensors, training_state.pt    what training needs as well

Nothing in it can run code when it is loaded.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from stylegan.checkpoints.formats import NO_AVERAGE
from stylegan.checkpoints.open import OWN_SETTINGS, open_checkpoint
from stylegan.checkpoints.state_dict.like import current_like, settings_like
from stylegan.config import Config, DiscriminatorConfig, GeneratorConfig, Stylegan3Config, preset
from stylegan.device import resolve_device
from stylegan.errors import CheckpointError, Note, SnapshotError, UserError
from stylegan.models import build
from stylegan.models.discriminator import Discriminator
from stylegan.models.generator import Generator
from stylegan.models.weights import fill
from stylegan.models.wrapped import plain_names, unwrapped
from stylegan.snapshots import (
    AVERAGED,
    CONFIG,
    FORMAT,
    VERSION,
    find_snapshot,
    read_config,
    snapshot_around,
    with_snapshot,
)
from stylegan.words import one_line

NETWORKS = ("G_ema", "G", "D")
LABELS = "labels.safetensors"  # labels of images that the networks were trained on


def build_generator(
    config: str | Config | GeneratorConfig | Stylegan3Config = "auto", **fields: Any
) -> Generator:
    """A generator with fresh weights, on the CPU, in training mode.

    Args:
        config: a preset's name, a `Config`, a `GeneratorConfig` or a `Stylegan3Config`.
        fields: fields of the network's config to replace: `resolution=256, channel_base=16384`.
    Raises: UserError (a ValueError) for a preset or a field that does not exist, or a value that
        does not fit.
    """
    if isinstance(config, str):
        config = preset(config)
    return build.build_generator(config.G if isinstance(config, Config) else config, **fields)


def build_discriminator(
    config: str | Config | DiscriminatorConfig = "auto", **fields: Any
) -> Discriminator:
    """A discriminator with fresh weights; arguments as `build_generator`, fields of
    `DiscriminatorConfig`."""
    if isinstance(config, str):
        config = preset(config)
    return build.build_discriminator(config.D if isinstance(config, Config) else config, **fields)


class Networks:
    """The networks of a snapshot or of another program's file: G_ema, G, D, config, and `meta`
    (kimg, dataset, augment_p, source).

    A network is read when it is first used. It is None if the file does not have it.

    Args:
        config: the settings of all of them.
        meta: what else config.json holds.
        G_ema, G, D: networks that exist already. Those inside of DataParallel,
            DistributedDataParallel or torch.compile are taken out.
        folder: a snapshot to read the others from,
        path, checkpoint: or a file and its `Checkpoint`.
        device: for the networks that are read.
        label_vectors: see the property.
    """

    def __init__(
        self,
        config: Config,
        meta: dict[str, Any],
        G_ema: Any = None,
        G: Any = None,
        D: Any = None,
        folder: Path | None = None,
        device: str | torch.device = "cpu",
        path: Path | None = None,
        checkpoint: Any = None,
        label_vectors: torch.Tensor | None = None,
    ) -> None:
        self.config, self.meta, self.folder, self.device = config, meta, folder, device
        self.path, self.checkpoint = path or folder, checkpoint
        self._loaded: dict[str, Any] = {
            k: unwrapped(v) for k, v in (("G_ema", G_ema), ("G", G), ("D", D)) if v is not None
        }
        self._label_vectors = label_vectors

    @property
    def G_ema(self) -> Any:
        """The averaged generator, for images."""
        return self._network("G_ema")

    @property
    def G(self) -> Any:
        """The generator in training."""
        return self._network("G")

    @property
    def best_G(self) -> Any:
        """The generator to draw with: G_ema, or G if there is no G_ema; None without both."""
        return self.G if self.G_ema is None else self.G_ema

    @property
    def D(self) -> Any:
        """The discriminator."""
        return self._network("D")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers; empty if the network is
        unconditional."""
        data = self.meta.get("dataset")
        names = data.get("class_names") if isinstance(data, dict) else None
        return tuple(names) if names and self.config.G.c_dim else ()

    @property
    def class_counts(self) -> tuple[int, ...]:
        """How many training images each class has; empty if that is not known or labels are not
        classes."""
        data = self.meta.get("dataset")
        counts = data.get("class_counts") if isinstance(data, dict) else None
        if not isinstance(counts, list) or len(counts) != self.config.G.c_dim:
            return ()
        return tuple(counts) if all(type(n) is int for n in counts) else ()

    @property
    def label_vectors(self) -> torch.Tensor | None:
        """Labels of some of the training images: float32 [K, c_dim] on the CPU. None if labels are
        classes, or the networks come from a file that does not keep them."""
        if self._label_vectors is None and self.folder and (self.folder / LABELS).is_file():
            path = self.folder / LABELS
            try:
                with safe_open(path, "pt") as f:
                    vectors = f.get_tensor("vectors")
            except (SafetensorError, OSError) as e:
                raise SnapshotError(path, f"is damaged ({one_line(e, 200)})") from e
            if vectors.ndim != 2 or vectors.shape[1] != self.config.G.c_dim:
                raise SnapshotError(
                    path,
                    f"its vectors are {list(vectors.shape)}, expected [K, {self.config.G.c_dim}]",
                )
            self._label_vectors = vectors.float()
        with torch.inference_mode(False):  # what is handed out may be changed
            return None if self._label_vectors is None else self._label_vectors.clone()

    def with_G_ema(self) -> Networks:
        """These networks, in which G_ema is G if there is no G_ema."""
        if self.G_ema is None:
            self._loaded["G_ema"] = self.G
        return self

    def save(self, folder: str | Path) -> None:
        """Write config.json, a file per network and the label vectors into an existing folder."""
        folder = Path(folder)
        for name in NETWORKS:
            self._network(name)
        content = {
            **self.meta,
            "format": FORMAT,
            "version": VERSION,
            "config": self.config.to_dict(),
        }
        (folder / CONFIG).write_text(json.dumps(content, indent=1, ensure_ascii=False), "utf-8")
        for name, network in self._loaded.items():
            if network is None:
                continue
            state = plain_names(network.state_dict())
            state = {k: v.detach().cpu().contiguous() for k, v in state.items()}
            self._save(state, folder / f"{name}.safetensors")
        if self.label_vectors is not None:
            self._save({"vectors": self.label_vectors.contiguous()}, folder / LABELS)

    def _save(self, tensors: dict[str, torch.Tensor], path: Path) -> None:
        save_file(tensors, path, metadata={"format": "pt"})
        path.chmod((path.parent / CONFIG).stat().st_mode)  # else only the owner could read it

    def __getstate__(self) -> dict[str, Any]:
        """Without an open file, which is opened again when a network of it is needed."""
        return {**self.__dict__, "checkpoint": self.checkpoint if self.path is None else None}

    def _network(self, name: str) -> Any:
        if name not in self._loaded:
            if self.checkpoint is None and self.path is not None and self.folder is None:
                self.checkpoint = open_checkpoint(self.path)
            with torch.inference_mode(False):  # weights of an ordinary network
                network = self._from_checkpoint(name) if self.checkpoint else self._read(name)
                if network is not None:
                    network = network.to(self.device).eval().requires_grad_(False)
            self._loaded[name] = network
        return self._loaded[name]

    def _from_checkpoint(self, name: str) -> Any:
        try:
            return self.checkpoint.read(name)
        except CheckpointError:
            raise
        except (ValueError, RuntimeError, TypeError) as e:
            reason = one_line(e, 200)
            raise CheckpointError(self.path, f"{name} cannot be read ({reason})") from e

    def _read(self, name: str) -> Any:
        """A network from the folder, or None."""
        if self.folder and not self.folder.is_dir():
            raise SnapshotError(self.folder, "has been deleted by the run; try again")
        path = self.folder and self.folder / f"{name}.safetensors"
        if not path or not path.is_file():
            return None
        try:
            with build.Unfilled():
                network: Any
                if name == "D":
                    network = build.build_discriminator(self.config.D)
                else:
                    network = build.build_generator(self.config.G)
            fill(network, path)
        except (SafetensorError, OSError, RuntimeError, TypeError, ValueError) as e:
            reason = one_line(e, 200)
            raise SnapshotError(
                path,
                f"does not fit its config.json, or is damaged ({reason}); copy the folder "
                "again, or use an earlier snapshot",
            ) from e
        return network


def load_networks(
    path: str | Path, device: str | torch.device = "auto", like: str | Path | None = None
) -> Networks:
    """The networks of a snapshot, or of a file of another program. No code in a file is run.

    Args:
        path: a snapshot folder, a run folder (its newest snapshot), NVIDIA's .pkl (PyTorch or
            TensorFlow), rosinality's .pt, a state dict (.pt or .safetensors).
        device: "auto", "cpu", "cuda", ... or a torch.device.
        like: a network whose settings a state dict has, which does not hold its own. By default
            they follow from the shapes of its tensors.
    Returns: the networks, in evaluation mode, without gradients.
    Raises: UserError (a ValueError) if there are none or they cannot be read; for files it is a
        CheckpointError.
    """
    if like is not None:
        with settings_like(lambda: load_networks(like, "cpu").config):
            return load_networks(path, device)
    path = snapshot_around(path) or path
    if Path(path).is_file():
        return _from_file(path, resolve_device(device))
    if current_like():
        find_snapshot(path)
        raise UserError(path, OWN_SETTINGS)
    return with_snapshot(path, lambda folder: _from_folder(path, folder, resolve_device(device)))


def _from_folder(path: str | Path, folder: Path, device: torch.device) -> Networks:
    """The networks of the snapshot that `path` means."""
    config, meta = read_config(folder)
    if not (folder / AVERAGED).is_file() and folder.is_dir():
        warnings.warn(f"{folder}: {NO_AVERAGE}", Note, stacklevel=5)
    nets = Networks(config, meta, folder=folder, device=device)
    if folder != Path(path):  # a live run may delete it soon
        _ = nets.best_G, nets.label_vectors
    return nets


def _from_file(path: str | Path, device: torch.device) -> Networks:
    checkpoint = open_checkpoint(path)
    if checkpoint.config is None:
        raise CheckpointError(f"{path} ({checkpoint.format})", checkpoint.reason or "unknown")
    for note in checkpoint.remarks():
        warnings.warn(f"{path}: {note}", Note, stacklevel=3)
    meta = {**checkpoint.meta, "source": {"file": Path(path).name, "format": checkpoint.format}}
    return Networks(checkpoint.config, meta, path=Path(path), checkpoint=checkpoint, device=device)
