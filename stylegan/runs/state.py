# SPDX-License-Identifier: Apache-2.0
"""The state of training in a snapshot: saved, and restored bit for bit."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from stylegan.config import Config
from stylegan.data.dataset import ImageDataset
from stylegan.errors import SnapshotError, UserError
from stylegan.networks import Networks, load_networks
from stylegan.runs.snapshot import STATE, read_state, write_snapshot
from stylegan.runs.training_labels import about_dataset, label_vectors


class Model(Protocol):
    """What a snapshot needs of the networks in training and their step."""

    @property
    def G(self) -> torch.nn.Module: ...

    @property
    def D(self) -> torch.nn.Module: ...

    @property
    def G_ema(self) -> torch.nn.Module: ...

    @property
    def images_seen(self) -> int: ...

    def state_dict(self) -> dict[str, Any]:
        """What the next step depends on besides the networks."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""


@dataclass
class Progress:
    """How far a run has come, besides its networks."""

    seconds: float = 0.0  # of training, over all its processes
    logged: int = 0  # images seen at the last line of numbers that was due
    streaks: dict[str, int] = field(default_factory=dict)  # ticks in a row with a sign of collapse
    early: str | None = None  # name of the newest snapshot, if the next one replaces it


@dataclass(frozen=True)
class Restored:
    """What `restore` read besides the networks."""

    progress: Progress
    warnings: list[str]


def save(
    run_dir: Path,
    config: Config,
    dataset: ImageDataset,
    model: Model,
    progress: Progress,
    early: bool = False,
) -> Path:
    """Write a snapshot of a run.

    Args: early: the next snapshot replaces it. `progress` notes that.
    Returns: its folder.
    Raises: OSError.
    """
    meta = {"kimg": model.images_seen / 1000, "dataset": about_dataset(dataset)}
    vectors = label_vectors(dataset) if config.G.c_dim else None
    networks = Networks(
        config, meta, G_ema=model.G_ema, G=model.G, D=model.D, label_vectors=vectors
    )
    state = {
        "step": model.state_dict(),
        "seconds": progress.seconds,
        "logged": progress.logged,
        "collapse": progress.streaks,
        "early": early,
        "random": random_state(),
        "data": {"images": len(dataset), "fingerprint": dataset.fingerprint},
    }
    # An early one does not count in `keep`.
    keep = config.train.keep and config.train.keep + early
    folder = write_snapshot(run_dir, networks, state, keep, progress.early)
    progress.early = folder.name if early else None
    return folder


def restore(
    snapshot: Path, config: Config, dataset: ImageDataset, device: torch.device, model: Model
) -> Restored:
    """Put a snapshot into `model` and the random number generators of the process.

    Raises: SnapshotError if it lacks something that training needs, UserError if it does not fit
        the data set or is of another version.
    """
    state = read_state(snapshot)
    saved = load_networks(snapshot, device)
    for name in ("resolution", "channels", "c_dim"):
        then, now = getattr(saved.config.G, name), getattr(config.G, name)
        if then != now:
            raise UserError(snapshot, f"has {name} {then}, but the data set has {now}")
    for name in ("G", "D", "G_ema"):
        network = getattr(saved, name)
        if network is None:
            raise SnapshotError(snapshot, f"has no {name}, so training cannot continue from it")
        getattr(model, name).load_state_dict(network.state_dict())
    try:
        model.load_state_dict(state["step"])
        progress = Progress(state["seconds"], state["logged"], state["collapse"])
        progress.early = snapshot.name if state.get("early") else None
        set_random_state(state["random"])
        data = state["data"]
    except torch.OutOfMemoryError:
        raise
    except (KeyError, ValueError, RuntimeError) as e:
        raise UserError(
            snapshot,
            f"{STATE} is of another version ({type(e).__name__} {e}); "
            "--init-from starts from its networks",
        ) from e
    warnings = []
    if data["fingerprint"] != dataset.fingerprint:
        warnings.append(
            f"the files or labels are not the {data['images']} images that the run had: it "
            "continues with these, but not exactly as it would have"
        )
    return Restored(progress, warnings)


def random_state() -> dict[str, Any]:
    """The state of the process's random number generators: torch, CUDA, NumPy, Python."""
    numpy: Any = np.random.get_state()
    kind, keys, *rest = numpy
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "numpy": [kind, keys.tolist(), *rest],
        "python": [version, list(words), gauss],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """The inverse of `random_state`. CUDA's is set if there are as many devices as there were."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
