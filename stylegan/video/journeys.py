# SPDX-License-Identifier: Apache-2.0
"""Journeys through W: keyframes in, pictures out."""

from pathlib import Path

import numpy as np
import torch

from stylegan.errors import UserError
from stylegan.imaging import grid
from stylegan.video.splines import CubicSpline, frame_times

CHUNK = 64  # pictures held at a time, about


@torch.inference_mode()
def keyframes_of_seeds(pipe, seeds, label=None, truncation_psi=1.0):
    """ws [N, num_ws, w_dim] on the CPU of seeds; arguments as a call of the `Pipeline`."""
    c, _ = pipe.labels(label, seeds)
    z = pipe.latents(seeds).to(pipe.device)
    return pipe.G.mapping(z, None if c is None else c.to(pipe.device), truncation_psi).cpu()


def read_keyframes(path, G):
    """ws [N, num_ws, w_dim] float32 of a file.

    Args:
        path: .npy, or .npz with an array `ws` (or with one array): [N, num_ws, w_dim], or
            [N, w_dim] for the same w in every layer.
        G: the generator that they are for.
    Raises: UserError if it cannot be read or does not fit.
    """
    path = Path(path)
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.lib.npyio.NpzFile):
            with content:
                names = content.files
                if "ws" not in names and len(names) != 1:
                    raise UserError(path, f"expected an array named ws, got {', '.join(names)}")
                content = content["ws" if "ws" in names else names[0]]
        ws = torch.from_numpy(np.asarray(content, np.float32))
    except UserError:
        raise
    except OSError as e:
        raise UserError(path, f"cannot be read ({e.strerror or e})") from e
    except Exception as e:  # of the many that NumPy and zipfile have for a broken file
        raise UserError(path, f"expected an .npy or .npz file of numbers ({e})") from e
    if ws.ndim == 2:
        ws = ws[:, None]
    if ws.ndim == 3 and ws.shape[1] == 1:
        ws = ws.expand(-1, G.num_ws, -1)
    if ws.shape[1:] != (G.num_ws, G.w_dim) or not len(ws):
        raise UserError(
            path, f"expected ws of shape [N, {G.num_ws}, {G.w_dim}], got {list(content.shape)}"
        )
    if not ws.isfinite().all():
        raise UserError(path, "holds numbers that are not finite")
    return ws.contiguous()


def check_cells(count, cells):
    """Raises: UserError if so many keyframes cannot be split evenly, at least two for each cell."""
    if count % cells or count < 2 * cells:
        among = f" for each of {cells} cells, for all the same number" if cells > 1 else ""
        raise UserError("keyframes", f"expected two or more{among}; got {count}")


def in_cells(keyframes, cells):
    """[N, ...] -> [cells, N / cells, ...]: the first cell gets the first ones, and so on.

    Raises: UserError as `check_cells`.
    """
    check_cells(len(keyframes), cells)
    return keyframes.unflatten(0, (cells, len(keyframes) // cells))


def frames(pipe, keyframes, count, loop=True, columns=None, noise_mode="const"):
    """Pictures along the cubic splines through keyframes, one after the other.

    Args:
        pipe: a `Pipeline`.
        keyframes: ws [cells, K, num_ws, w_dim]; each cell of a picture has a journey of its own.
        count: frames in all.
        loop: go on from the last keyframe to the first, where the next round would begin.
            Otherwise the last frame is the last keyframe.
        columns: cells side by side; None: all.
        noise_mode: const or none.
    Yields: `count` PIL images.
    """
    cells, points = keyframes.shape[:2]
    curve = CubicSpline(keyframes.transpose(0, 1).numpy(), loop)
    times = frame_times(count, points, loop)
    step = max(min(pipe.batch, CHUNK) // cells, 1)
    for start in range(0, count, step):
        ws = torch.from_numpy(curve(times[start : start + step])).float()
        images = pipe(ws=ws.flatten(0, 1), noise_mode=noise_mode).images
        for i in range(0, len(images), cells):
            yield grid(images[i : i + cells], columns or cells)
