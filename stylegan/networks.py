# SPDX-License-Identifier: Apache-2.0
"""Networks, and the snapshot folder or the file of another program that holds them.

    config.json          format, settings, kimg, data set with names of classes or labels
    G_ema.safetensors    what inference needs
    labels.safetensors   label vectors of some of the training images, if labels are vectors
    G.safetensors, D.safetensors, training_state.pt    what training needs as well

Nothing in it can run code when it is loaded.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from stylegan.checkpoints.formats import NO_AVERAGE
from stylegan.checkpoints.open import OWN_SETTINGS, open_checkpoint
from stylegan.checkpoints.state_dict.like import current_like, settings_like
from stylegan.config import Config
from stylegan.config.describe import network_words
from stylegan.device import resolve_device
from stylegan.errors import CheckpointError, Note, UserError
from stylegan.models.wrapped import unwrapped
from stylegan.placement import Device, Placement, device_of, dtype_of
from stylegan.snapshot_files import (
    NETWORKS,
    new_snapshot,
    read_label_vectors,
    read_network,
    write_files,
)
from stylegan.snapshots import (
    AVERAGED,
    find_snapshot,
    read_config,
    snapshot_around,
    with_snapshot,
)
from stylegan.training_data import class_counts_of, class_names_of, label_names_of, label_words
from stylegan.words import one_line, printable, short


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
        self.config, self.meta, self.folder = config, meta, folder
        self._device = device
        self._dtype: torch.dtype | None = None  # as the files are read
        self.path, self.checkpoint = path or folder, checkpoint
        self._loaded: dict[str, Any] = {
            k: unwrapped(v) for k, v in (("G_ema", G_ema), ("G", G), ("D", D)) if v is not None
        }
        self._label_vectors = label_vectors

    @classmethod
    def from_pretrained(cls, path: str | Path, device: str | torch.device = "auto") -> Networks:
        """The networks of a snapshot, a run or another program's file; same as `load_networks`."""
        return load_networks(path, device)

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
        """Names of the classes in the order of their numbers; empty without classes."""
        return class_names_of(self.meta, self.config.G.c_dim)

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Training images of each class; empty if unknown, or if labels are not classes."""
        return class_counts_of(self.meta, self.config.G.c_dim)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the numbers of a label vector; empty if they have none."""
        return label_names_of(self.meta, self.config.G.c_dim)

    @property
    def label_vectors(self) -> torch.Tensor | None:
        """Labels of some of the training images: float32 [K, c_dim] on the CPU. None if labels are
        classes, or the networks come from a file that does not keep them."""
        if self._label_vectors is None and self.folder:
            self._label_vectors = read_label_vectors(self.folder, self.config.G.c_dim)
        with torch.inference_mode(False):  # what is handed out may be changed
            return None if self._label_vectors is None else self._label_vectors.clone()

    def with_G_ema(self) -> Networks:
        """These networks, in which G_ema is G if there is no G_ema."""
        if self.G_ema is None:
            self._loaded["G_ema"] = self.G
        return self

    @property
    def device(self) -> torch.device:
        """Where the networks are, and where those go that are not read yet."""
        return device_of(self._first, resolve_device(self._device))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return dtype_of(self._first, self._dtype or torch.get_default_dtype())

    @property
    def _first(self) -> Any:
        """A network that was read already, or None."""
        return next((network for network in self._loaded.values() if network is not None), None)

    def to(
        self, device: Device | torch.dtype | None = None, dtype: torch.dtype | None = None
    ) -> Networks:
        """Move all networks, those too that are read later. They are changed in place.

        Args:
            device: "cuda", "cuda:1", "cpu", "auto", a torch.device, or a dtype in its place.
            dtype: of the weights. float16 and bfloat16 take less memory, and the arithmetic stays
                as it is; float64 computes in float64.
        Returns: these networks.
        Raises: UserError if this machine does not have the device, or for another dtype.
        """
        place = Placement.of(device, dtype)
        with torch.inference_mode(False):
            for network in self._loaded.values():
                if isinstance(network, torch.nn.Module):
                    place.move(network)
        self._device, self._dtype = place.device or self._device, place.dtype or self._dtype
        return self

    def save(self, folder: str | Path) -> None:
        """Write config.json, a file per network and the label vectors into an existing folder."""
        self._write(Path(folder), NETWORKS)

    def save_pretrained(
        self, folder: str | Path, overwrite: bool = False, networks: Sequence[str] = NETWORKS
    ) -> Path:
        """Write a snapshot folder, which `load_networks` and every command read. It appears
        complete or not at all.

        Args:
            folder: is made, with the folders above it.
            overwrite: replace a snapshot that is there.
            networks: those to write, of G_ema, G and D. Networks that do not exist are left out.
        Returns: the folder.
        Raises: UserError if something is there that may not be replaced, or there is nothing to
            write; OSError if the disk is full or cannot be written.
        """
        if not any(name in NETWORKS and self._network(name) is not None for name in networks):
            raise UserError("networks", f"there is none of {', '.join(networks)} to save")
        with new_snapshot(folder, overwrite) as part:
            self._write(part, networks)
        return Path(folder)

    def _write(self, folder: Path, names: Sequence[str]) -> None:
        found = {name: self._network(name) for name in NETWORKS if name in names}
        found = {name: network for name, network in found.items() if network is not None}
        write_files(folder, self.config, self.meta, found, self.label_vectors)

    def __repr__(self) -> str:
        names = [" ".join(self._names())]
        return f"Networks({', '.join(filter(None, names + self.facts()))})"

    def facts(self) -> list[str]:
        """What a person wants to know first, in words. Nothing is read for it."""
        kimg = self.meta.get("kimg")
        facts = [network_words(self.config.G), label_words(self.meta, self.config.G.c_dim)]
        facts.append(f"{short(kimg)} kimg" if isinstance(kimg, (int, float)) else "")
        stored = "" if self.dtype == torch.float32 else f" in {self.dtype}"
        where = f"on {self.device}{stored.replace('torch.', '')}"
        return [fact for fact in (*facts, printable(self.path or ""), where) if fact]

    def _names(self) -> list[str]:
        """The networks that there are, as far as that is known without reading them."""
        names = {name for name, network in self._loaded.items() if network is not None}
        if self.folder is not None:
            names |= {name for name in NETWORKS if (self.folder / f"{name}.safetensors").is_file()}
        names |= set(self.checkpoint.tensors or ()) if self.checkpoint is not None else set()
        return [name for name in NETWORKS if name in names]

    def __getstate__(self) -> dict[str, Any]:
        """Without an open file, which is opened again when a network of it is needed."""
        return {**self.__dict__, "checkpoint": self.checkpoint if self.path is None else None}

    def _network(self, name: str) -> Any:
        if name not in self._loaded:
            if self.checkpoint is None and self.path is not None and self.folder is None:
                self.checkpoint = open_checkpoint(self.path)
            with torch.inference_mode(False):  # weights of an ordinary network
                if self.checkpoint:
                    network = self._from_checkpoint(name)
                else:
                    network = self.folder and read_network(self.folder, name, self.config)
                if network is not None:
                    network.to(self._device, self._dtype).eval().requires_grad_(False)
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
