# SPDX-License-Identifier: Apache-2.0
"""Seeds or latents in, images out."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import stylegan_ops
from stylegan.errors import UserError
from stylegan.imaging import to_pil
from stylegan.inference.batching import default_batch, in_batches
from stylegan.inference.labels import Label, Labels, find_labels
from stylegan.inference.motion import moved_input
from stylegan.inference.replay import CompiledSynthesis, GraphedSynthesis
from stylegan.inference.seeds import latents_of_seeds
from stylegan.models.fold import fold_constants
from stylegan.models.generator import Generator
from stylegan.models.stylegan3 import make_transform
from stylegan.networks import Networks, load_networks


@dataclass(frozen=True)
class PipelineOutput:
    """The result of a call of a `Pipeline`."""

    images: list[Image.Image]  # grey, RGB or RGBA
    ws: torch.Tensor  # [N, num_ws, w_dim] on the CPU, from which the images were made
    labels: list[int | None]  # class numbers; None without classes or if the label is a vector


@dataclass(frozen=True)
class Mapped:
    """Latents after the mapping network."""

    ws: torch.Tensor  # [N, num_ws, w_dim] on the device of the network
    labels: list[int] | None


@dataclass(frozen=True)
class Request:
    """What a call asks of the synthesis network."""

    ws: torch.Tensor  # [N, num_ws, w_dim] on the device of the network
    noise_mode: str  # const, random or none
    noise_seeds: Sequence[int]  # per image, for random noise
    batch: int  # images at once


class Pipeline:
    """Generates images with the averaged generator of a snapshot, or with G if there is none.

    Args:
        networks: `Networks` with G_ema or G. Its weights must not change afterwards, because what
            depends on them alone is computed here (`fold_constants`).
        compile: run synthesis through torch.compile, which takes about half a minute for each batch
            size. Random noise runs without it. If False, a CUDA GPU replays CUDA graphs.
    Raises: UserError if there is no generator, or nothing can be compiled here.
    """

    def __init__(self, networks: Networks, compile: bool = False) -> None:
        if networks.best_G is None:
            raise UserError("Pipeline", "there is no generator (G_ema or G)")
        self.networks = networks
        self.G: Generator = networks.best_G.eval().requires_grad_(False)
        fold_constants(self.G)
        self.device = next(self.G.parameters()).device
        self.compiled = CompiledSynthesis(self.G.synthesis) if compile else None
        self.lock = threading.Lock()  # all threads share the transform of the network's input
        cuda = self.device.type == "cuda" and not compile
        self.graphed = GraphedSynthesis(self.G.synthesis) if cuda else None

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        device: str | torch.device = "auto",
        compile: bool = False,
    ) -> Pipeline:
        """The pipeline of a snapshot, a run or another program's file (see `load_networks`).
        Raises: UserError if it cannot be read."""
        return cls(load_networks(path, device), compile)

    @cached_property
    def batch(self) -> int:
        """Images at once by default; smaller after memory has run out."""
        return default_batch(self.G, self.device)

    @torch.inference_mode()
    def __call__(
        self,
        seeds: Sequence[int] | None = None,
        latents: torch.Tensor | np.ndarray | None = None,
        ws: torch.Tensor | np.ndarray | None = None,
        label: Label | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise_mode: str = "const",
        batch: int | None = None,
        translate: tuple[float, float] | None = None,
        rotate: float | None = None,
    ) -> PipelineOutput:
        """Images of seeds, of latents or of ws.

        Args:
            seeds: integers in [0, 2^32); a seed gives the same z on every device.
            latents: [N, z_dim], instead of seeds.
            ws: [N, num_ws, w_dim], instead of either; label and truncation do not apply.
            label: class number or name, or a vector [c_dim], for all images. None: seed modulo the
                number of classes, so that consecutive seeds show all classes.
            truncation_psi, truncation_cutoff: see `Mapping.forward`.
            noise_mode: const, random (from the seed) or none.
            batch: images at once. None: by resolution, and on CUDA by free memory. If memory runs
                out, the batch is halved. With compile, a shorter list is padded to a full batch.
            translate: (x, y), fractions of the image size, to the right and down. StyleGAN3 only.
            rotate: degrees counter-clockwise around the centre, before the translation. StyleGAN3
                only.
        Returns: `PipelineOutput`.
        Raises: UserError for a seed, label or shape that does not fit, for a translation or
            rotation of a network other than StyleGAN3, or if nothing can be compiled.
        """
        if sum(v is not None for v in (seeds, latents, ws)) != 1:
            raise UserError("Pipeline", "give exactly one of seeds, latents and ws")
        labels: Sequence[int] | None = None
        if ws is None:
            mapped = self.map(seeds, latents, label, truncation_psi, truncation_cutoff)
            ws, labels = mapped.ws, mapped.labels
        request = self._request(torch.as_tensor(ws), seeds, noise_mode, batch)
        with self._motion(translate, rotate):
            images = self._images(request)
        numbers: list[int | None] = [*labels] if labels else [None] * len(images)
        return PipelineOutput(images, request.ws.cpu(), numbers)

    @torch.inference_mode()
    def map(
        self,
        seeds: Sequence[int] | None = None,
        latents: torch.Tensor | np.ndarray | None = None,
        label: Label | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Mapped:
        """The ws of seeds or latents; arguments and errors as for a call."""
        if (seeds is None) == (latents is None):
            raise UserError("Pipeline.map", "give exactly one of seeds and latents")
        z = torch.as_tensor(latents).float() if seeds is None else self.latents(seeds)
        c, numbers = self.labels(label, range(len(z)) if seeds is None else seeds)
        c = None if c is None else c.to(self.device)
        ws = self.G.mapping(z.to(self.device), c, truncation_psi, truncation_cutoff)
        return Mapped(ws, numbers)

    def latents(self, seeds: Iterable[int]) -> torch.Tensor:
        """z [N, z_dim] of seeds, float32 on the CPU (`latents_of_seeds`)."""
        return latents_of_seeds(seeds, self.G.z_dim)

    def labels(self, label: Label | None, seeds: Sequence[int]) -> Labels:
        """The labels of images of `seeds`; `label` and errors as for a call."""
        return find_labels(label, seeds, self.G.c_dim, self.networks.class_names)

    def mix(
        self,
        row_seeds: Sequence[int],
        column_seeds: Sequence[int],
        layers: Iterable[int],
        label: Label | None = None,
        truncation_psi: float = 1.0,
        noise_mode: str = "const",
    ) -> list[list[Image.Image | None]]:
        """Style mixing: each row's image with the styles of `layers` taken from each column's.

        Args:
            row_seeds, column_seeds: integers.
            layers: indices into ws, from 0 (coarse) to num_ws - 1 (fine).
            label, truncation_psi, noise_mode: as for a call.
        Returns: list of rows of PIL images, (1 + rows) x (1 + columns). The first row shows the
            unmixed images of the columns, the first column those of the rows; the corner is None.
        Raises: UserError for a layer that does not exist.
        """
        layers = sorted(set(layers))
        if not layers or layers[0] < 0 or layers[-1] >= self.G.num_ws:
            raise UserError(
                "layers", f"expected numbers from 0 to {self.G.num_ws - 1}, got {layers}"
            )
        rows = self(row_seeds, label=label, truncation_psi=truncation_psi, noise_mode=noise_mode)
        columns = self(
            column_seeds, label=label, truncation_psi=truncation_psi, noise_mode=noise_mode
        )
        mixed = rows.ws[:, None].repeat(1, len(column_seeds), 1, 1)
        mixed[:, :, layers] = columns.ws[None, :, layers]
        images = self(ws=mixed.flatten(0, 1), noise_mode=noise_mode).images
        n = len(column_seeds)
        table: list[list[Image.Image | None]] = [[None, *columns.images]]
        for i, own in enumerate(rows.images):
            table.append([own, *images[i * n : (i + 1) * n]])
        return table

    def _request(
        self, ws: torch.Tensor, seeds: Sequence[int] | None, noise_mode: str, batch: int | None
    ) -> Request:
        if ws.shape[1:] != (self.G.num_ws, self.G.w_dim):
            expected = f"[N, {self.G.num_ws}, {self.G.w_dim}]"
            raise UserError("ws", f"expected {expected}, got {list(ws.shape)}")
        if noise_mode == "random" and not getattr(self.G.config, "use_noise", False):
            noise_mode = "const"  # the same without noise inputs, and faster
        if noise_mode == "random":
            batch = 1  # so that the noise of an image does not depend on the others
        noise_seeds = range(len(ws)) if seeds is None else seeds
        batch = batch or min(self.batch, len(ws))
        return Request(ws.to(self.device), noise_mode, noise_seeds, batch)

    @contextmanager
    def _motion(
        self, translate: tuple[float, float] | None, rotate: float | None
    ) -> Iterator[None]:
        """Inside the block images are moved, for this thread only."""
        moves = translate is not None or rotate is not None
        if self.G.config.model != "stylegan3":
            if moves:
                title = self.G.config.title
                raise UserError("translate, rotate", f"only StyleGAN3 can; this network is {title}")
            yield
            return
        with self.lock:
            if moves:
                with moved_input(self.G, make_transform(translate or (0.0, 0.0), rotate or 0.0)):
                    yield
            else:
                yield

    def _images(self, request: Request) -> list[Image.Image]:
        def run(start: int, end: int, batch: int) -> list[Image.Image]:
            return to_pil(self._synthesis(request, start, end, batch))

        count = len(request.ws)
        return in_batches(run, count, request.batch, self._can_free, self._use_less_memory)

    def _synthesis(self, request: Request, start: int, end: int, batch: int) -> torch.Tensor:
        """[end - start, C, H, W]: one batch, or the shorter rest of a list."""
        ws, noise_mode = request.ws[start:end], request.noise_mode
        run = self.compiled or self.graphed
        # On a CPU measuring takes seconds, and the rules choose well.
        plan = "fixed" if self.device.type == "cpu" else "measure"
        with stylegan_ops.planning(plan, unless_set=True):
            if noise_mode == "random" or run is None:
                generator = torch.Generator().manual_seed(int(request.noise_seeds[start]))
                return self.G.synthesis(ws, noise_mode, generator)
            return run(ws, noise_mode, batch)

    def _can_free(self) -> bool:
        return bool(self.graphed and self.graphed.graphs)

    def _use_less_memory(self, batch: int) -> None:
        self.batch = min(self.batch, batch)
        if self.graphed:
            self.graphed.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
