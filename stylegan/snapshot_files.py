# SPDX-License-Identifier: Apache-2.0
"""Reading and writing the files of a snapshot folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from stylegan.config import Config
from stylegan.errors import SnapshotError, UserError
from stylegan.files import whole_folder
from stylegan.models import build
from stylegan.models.weights import fill
from stylegan.models.wrapped import plain_names
from stylegan.snapshots import CONFIG, FORMAT, VERSION
from stylegan.words import one_line

NETWORKS = ("G_ema", "G", "D")
LABELS = "labels.safetensors"  # labels of images that the networks were trained on
WRITTEN = {CONFIG, LABELS, *(f"{name}.safetensors" for name in NETWORKS)}


def read_network(folder: Path, name: str, config: Config) -> Any:
    """A network on the CPU, or None if the folder does not have it. Raises: SnapshotError."""
    if not folder.is_dir():
        raise SnapshotError(folder, "has been deleted by the run; try again")
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        return None
    try:
        with build.Unfilled():
            network: Any
            if name == "D":
                network = build.build_discriminator(config.D)
            else:
                network = build.build_generator(config.G)
        fill(network, path)
    except (SafetensorError, OSError, RuntimeError, TypeError, ValueError) as e:
        reason = one_line(e, 200)
        raise SnapshotError(
            path,
            f"does not fit its config.json, or is damaged ({reason}); copy the folder "
            "again, or use an earlier snapshot",
        ) from e
    return network


def read_label_vectors(folder: Path, c_dim: int) -> torch.Tensor | None:
    """Label vectors [K, c_dim] float32, or None if there are none. Raises: SnapshotError."""
    path = folder / LABELS
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as f:
            vectors = f.get_tensor("vectors")
    except (SafetensorError, OSError) as e:
        raise SnapshotError(path, f"is damaged ({one_line(e, 200)})") from e
    if vectors.ndim != 2 or vectors.shape[1] != c_dim:
        raise SnapshotError(
            path,
            f"its vectors are {list(vectors.shape)}, expected [K, {c_dim}]",
        )
    return vectors.float()


def write_files(
    folder: Path,
    config: Config,
    meta: Mapping[str, Any],
    networks: Mapping[str, torch.nn.Module],
    label_vectors: torch.Tensor | None,
) -> None:
    """Write config.json, a file per network and the label vectors into an existing folder."""
    content = {**meta, "format": FORMAT, "version": VERSION, "config": config.to_dict()}
    (folder / CONFIG).write_text(json.dumps(content, indent=1, ensure_ascii=False), "utf-8")
    for name, network in networks.items():
        state = plain_names(network.state_dict())
        state = {k: v.detach().cpu().contiguous() for k, v in state.items()}
        _save(state, folder / f"{name}.safetensors")
    if label_vectors is not None:
        _save({"vectors": label_vectors.contiguous()}, folder / LABELS)


@contextmanager
def new_snapshot(path: str | Path, overwrite: bool) -> Iterator[Path]:
    """A folder to write a snapshot into, which appears as `path` if the block ends without an
    error. Folders above it are made.

    Args: overwrite: replace a snapshot that is there.
    Raises: UserError if something is there that may not be replaced; OSError.
    """
    path = Path(path)
    if path.is_dir():
        content = {file.name for file in path.iterdir()}
        if content - WRITTEN:
            why = f"holds {min(content - WRITTEN)}, which is no network; choose another folder"
            raise UserError(path, why)
        if content and not overwrite:
            raise UserError(path, "already exists; overwrite=True replaces it")
    elif path.exists() or path.is_symlink():
        raise UserError(path, "is a file; give the name of a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(path, overwrite=overwrite, marker=CONFIG) as part:
        yield part


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod((path.parent / CONFIG).stat().st_mode)  # else only the owner could read it
