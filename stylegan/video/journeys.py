# SPDX-License-Identifier: Apache-2.0
"""Journeys through W: keyframes in, images out."""

from __future__ import annotations

import os
from collections.abc import Iterator

import torch
from PIL import Image

from stylegan.errors import UserError
from stylegan.imaging import grid
from stylegan.inference.inputs import Seeds, count_of, floats_of
from stylegan.inference.labels import Label
from stylegan.inference.pipeline import Pipeline
from stylegan.latents import read_latents
from stylegan.models.generator import Generator
from stylegan.video.splines import CubicSpline, frame_times

CHUNK = 64  # maximum number of images in memory, rounded to whole frames


def keyframes_of_seeds(
    pipe: Pipeline, seeds: Seeds, label: Label | None = None, truncation_psi: float = 1.0
) -> torch.Tensor:
    """ws [N, num_ws, w_dim] of seeds, on the CPU; arguments as for a call of the `Pipeline`."""
    return pipe.map(seeds, label=label, truncation_psi=truncation_psi).ws.cpu()


def read_keyframes(path: str | os.PathLike[str], G: Generator) -> torch.Tensor:
    """ws [N, num_ws, w_dim] float32 from a file.

    Args:
        path: see `read_latents`.
        G: the generator that will draw them.
    Raises: UserError if the file cannot be read or does not fit the generator.
    """
    return read_latents(path, G.num_ws, G.w_dim).ws


def check_cells(count: int, cells: int, name: str = "keyframes") -> None:
    """Raises: UserError if `count` of `name` cannot be split evenly, at least two per cell."""
    if count % cells or count < 2 * cells:
        each = f" for each of {cells} cells, the same number for all" if cells > 1 else ""
        raise UserError(name, f"expected two or more{each}; got {count}")


def in_cells(keyframes: torch.Tensor, cells: int) -> torch.Tensor:
    """[N, ...] -> [cells, N / cells, ...]: the first cell gets the first keyframes, and so on.

    Returns: a copy.
    Raises: UserError as `check_cells`.
    """
    cells = count_of(cells, "cells", 1)
    check_cells(len(keyframes), cells)
    with torch.inference_mode(False):
        return keyframes.detach().unflatten(0, (cells, len(keyframes) // cells)).clone()


def frames(
    pipe: Pipeline,
    keyframes: torch.Tensor,
    count: int,
    loop: bool = True,
    columns: int | None = None,
    noise_mode: str = "const",
    scale: int = 1,
) -> Iterator[Image.Image]:
    """The frames of a video along cubic splines through keyframes, one after the other.

    Args:
        pipe: a `Pipeline`.
        keyframes: ws [cells, K, num_ws, w_dim]; each cell of a frame has its own spline.
        count: total number of frames.
        loop: continue from the last keyframe to the first, where the next round begins. Otherwise
            the last frame is the last keyframe.
        columns: cells side by side; None: all.
        noise_mode: const or none.
        scale: a whole number by which frames are enlarged, each pixel to a square.
    Yields: `count` PIL images.
    Raises: UserError for keyframes or numbers that do not fit.
    """
    count = count_of(count, "count", 1)
    columns = None if columns is None else count_of(columns, "columns", 1)
    item = [pipe.G.num_ws, pipe.G.w_dim]
    shape = f"[cells, K, {item[0]}, {item[1]}]"
    keyframes = floats_of(keyframes, "keyframes", f"ws of shape {shape}")
    if keyframes.ndim != 4 or list(keyframes.shape[2:]) != item or not len(keyframes):
        raise UserError("keyframes", f"expected {shape}, got {list(keyframes.shape)}")
    check_cells(keyframes.shape[0] * keyframes.shape[1], len(keyframes))
    scale = count_of(scale, "scale", 1)
    return _frames(pipe, keyframes.cpu(), count, loop, columns, noise_mode, scale)


def _frames(
    pipe: Pipeline,
    keyframes: torch.Tensor,
    count: int,
    loop: bool,
    columns: int | None,
    noise_mode: str,
    scale: int,
) -> Iterator[Image.Image]:
    cells, points = keyframes.shape[:2]
    curve = CubicSpline(keyframes.transpose(0, 1).numpy(), loop)
    times = frame_times(count, points, loop)
    step = max(min(pipe.batch, CHUNK) // cells, 1)
    for start in range(0, count, step):
        ws = torch.from_numpy(curve(times[start : start + step])).float()
        images = pipe(ws=ws.flatten(0, 1), noise_mode=noise_mode).images
        for i in range(0, len(images), cells):
            yield grid(images[i : i + cells], columns or cells, scale)
