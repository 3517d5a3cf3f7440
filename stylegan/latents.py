# SPDX-License-Identifier: Apache-2.0
"""Files of latents in W: ours, and those of other programs. Nothing in a file is run.

.npz    ws [N, num_ws, w_dim], the same once more as `w`, which NVIDIA's programs read, the
        noise maps noise.<layer>, and JSON text in `about`: this is what is written
.npy    an array
.pt     a tensor, as pSp, e4e, PTI and DragGAN save it, or the projections of rosinality
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylegan.checkpoints.pickle.arrays import Array
from stylegan.checkpoints.pickle.container import read_root
from stylegan.errors import UserError
from stylegan.identify import refuse_address
from stylegan.words import one_line

NOISE = "noise."  # how the names of noise maps begin
ZIP, NPY = b"PK\x03\x04", b"\x93NUMPY"
MAX_NUMBERS = 1 << 30  # of an array: 4 GiB of float32, 100,000 latents of 1024 px


@dataclass(frozen=True)
class Latents:
    """The latents of a file."""

    path: Path
    ws: torch.Tensor  # float32 [N, num_ws, w_dim]
    noise: dict[str, torch.Tensor] = field(default_factory=dict)  # {layer: float32 [1 or N, H, W]}


def read_latents(path: str | os.PathLike[str], num_ws: int, w_dim: int) -> Latents:
    """The latents of a file, for a network with `num_ws` layers of `w_dim` numbers.

    Args: path: .npz, .npy or .pt with latents of shape [N, num_ws, w_dim]; [N, 1, w_dim],
        [N, w_dim] or [w_dim] for the same w in every layer.
    Raises: UserError if the file cannot be read, does not fit the network, or can be read in two
        ways: [num_ws, w_dim] is one latent, or num_ws of them.
    """
    refuse_address(path)
    path = Path(path)
    try:
        value, noise = _content(path)
        ws = _as_ws(path, _floats(path, value), num_ws, w_dim)
        maps = {name: _as_map(path, name, _floats(path, x)) for name, x in noise.items()}
    except UserError:
        raise
    except OSError as e:
        raise UserError(path, f"cannot be read ({e.strerror or e})") from e
    except Exception as e:  # NumPy and zipfile raise many kinds for a broken file
        reason = one_line(e, 200) or type(e).__name__
        expected = "expected an .npy or .npz file of numbers, or a .pt of latents"
        raise UserError(path, f"{expected} ({reason})") from e
    for name, one in maps.items():
        if len(one) not in (1, len(ws)):
            why = f"expected 1 or {len(ws)}, got {len(one)} maps of {NOISE}{name}"
            raise UserError(path, why)
    return Latents(path, ws, maps)


def write_latents(
    path: Path,
    ws: torch.Tensor,
    about: Mapping[str, Any],
    noise: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write an .npz that `read_latents` and NVIDIA's programs read.

    Args:
        ws: [N, num_ws, w_dim].
        about: how the latents were made.
        noise: {layer: [1 or N, H, W]}.
    """
    array = ws.detach().cpu().float().contiguous().numpy()
    maps: dict[str, Any] = {
        NOISE + name: x.detach().cpu().float().numpy() for name, x in (noise or {}).items()
    }
    with path.open("wb") as file:
        text = json.dumps(dict(about), ensure_ascii=False)
        np.savez(file, ws=array, w=array, about=np.array(text), **maps)


def _content(path: Path) -> tuple[Any, dict[str, Any]]:
    """The latents and the noise maps of a file, in any shape."""
    with path.open("rb") as file:
        start = file.read(512)
    of_torch = start.startswith(ZIP) and b"/data.pkl" in start[30:]  # the archive's first file
    if of_torch or start[:1] == b"\x80":
        return _of_pickle(path, read_root(path))
    if start.startswith(ZIP):
        return _of_npz(path)
    if not start.startswith(NPY):
        raise ValueError("the file is empty" if not start else "it begins like neither of them")
    return np.load(path, allow_pickle=False), {}


def _of_npz(path: Path) -> tuple[Any, dict[str, Any]]:
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > 8 * MAX_NUMBERS:
            raise UserError(path, "is too large for a file of latents")
    with np.load(path, allow_pickle=False) as content:
        noise = {n: content[n] for n in content.files if n.startswith(NOISE)}
        names = [n for n in content.files if n not in noise and n != "about"]
        known = [n for n in ("ws", "w") if n in names] or names[: len(names) == 1]
        if not known or known == ["z"]:
            got = ", ".join(content.files) or "none"
            raise UserError(path, f"expected an array named ws or w, got {got}")
        return content[known[0]], {n.removeprefix(NOISE): x for n, x in noise.items()}


def _of_pickle(path: Path, root: Any) -> tuple[Any, dict[str, Any]]:
    """Latents in a file of torch.save: a tensor, or the dictionary of rosinality's projector."""
    if isinstance(root, Array):
        return root.read(), {}
    if type(root) is dict and "latent" in root:
        root = {"": root}
    found = list(root.values()) if type(root) is dict else root
    if type(found) in (list, tuple) and found:
        if all(isinstance(x, Array) for x in found):
            return _stacked(path, [x.read() for x in found]), {}
        if all(type(x) is dict and isinstance(x.get("latent"), Array) for x in found):
            ws = _stacked(path, [x["latent"].read() for x in found])
            return (ws[:, None] if ws.ndim == 2 else ws), _rosinality_noise(path, found)
    kind = f"a dictionary of {', '.join(map(str, list(root)[:5]))}" if type(root) is dict else ""
    raise UserError(path, f"expected a tensor of latents, got {kind or 'a ' + type(root).__name__}")


def _rosinality_noise(path: Path, projections: list[dict[Any, Any]]) -> dict[str, torch.Tensor]:
    """The noise maps that rosinality's projector learned, by the names of our layers.

    They come in the order of the layers: one at the smallest size, two at every other.
    """
    lists = [p.get("noise") or [] for p in projections]
    if not all(type(x) is list and all(isinstance(m, Array) for m in x) for x in lists):
        raise UserError(path, "expected noise maps in lists")
    if len(set(map(len, lists))) != 1:
        raise UserError(path, "the projections have different numbers of noise maps")
    maps = {}
    for i in range(len(lists[0])):
        name = f"b{4 << (i + 1) // 2}.conv{1 - i % 2}"
        maps[name] = _stacked(path, [one[i].read().flatten(0, -3) for one in lists])
    return maps


def _stacked(path: Path, tensors: list[torch.Tensor]) -> torch.Tensor:
    """Tensors [...] or [1, ...] of one shape, as [N, ...]."""
    shapes = {tuple(x.shape) for x in tensors}
    if len(shapes) != 1:
        listed = ", ".join(str(list(shape)) for shape in sorted(shapes)[:4])
        raise UserError(path, f"its latents have different shapes: {listed}")
    first = tensors[0]
    if first.ndim == 3 and len(first) == 1:
        return torch.cat(tensors)
    return torch.stack(tensors)


def _floats(path: Path, value: Any) -> torch.Tensor:
    """float32 of any real numbers. Raises: UserError."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiu":
            raise UserError(path, f"expected an .npy or .npz file of numbers, got {value.dtype}")
        value = torch.from_numpy(np.array(value, np.float32))
    if value.dtype.is_complex or value.dtype == torch.bool or value.numel() > MAX_NUMBERS:
        raise UserError(path, f"expected numbers, got {value.numel():,} of {value.dtype}")
    value = value.detach().float().contiguous()
    if not value.isfinite().all():
        raise UserError(path, "holds numbers that are not finite")
    return value


def _as_ws(path: Path, x: torch.Tensor, num_ws: int, w_dim: int) -> torch.Tensor:
    """[N, num_ws, w_dim] of any of the shapes that `read_latents` takes."""
    shape, ws = list(x.shape), x
    if ws.ndim == 4 and 1 in ws.shape[:2]:  # lists of single latents
        ws = ws.flatten(0, 1)
    if ws.ndim == 2 and shape == [num_ws, w_dim] and num_ws > 1:
        if not (ws == ws[:1]).all():
            raise UserError(
                path,
                f"{shape} is one latent of {num_ws} layers, or {num_ws} latents; save it as "
                f"[1, {num_ws}, {w_dim}] or as [{num_ws}, 1, {w_dim}]",
            )
        ws = ws[None]
    if ws.ndim == 1:
        ws = ws[None]
    if ws.ndim == 2:
        ws = ws[:, None]
    if ws.ndim == 3 and ws.shape[1] == 1:
        ws = ws.expand(-1, num_ws, -1)
    if ws.shape[1:] != (num_ws, w_dim) or not len(ws):
        raise UserError(
            path,
            f"expected ws of shape [N, {num_ws}, {w_dim}], got {shape}; use latents made with this "
            "network, such as those of --save-ws",
        )
    return ws.contiguous()


def _as_map(path: Path, name: str, x: torch.Tensor) -> torch.Tensor:
    """[1 or N, H, W] of a noise map [H, W], [N, H, W] or [N, 1, H, W]."""
    if x.ndim == 4 and x.shape[1] == 1:
        x = x[:, 0]
    if x.ndim == 2:
        x = x[None]
    if x.ndim != 3:
        raise UserError(path, f"{NOISE}{name}: expected [N, H, W], got {list(x.shape)}")
    return x
