# SPDX-License-Identifier: Apache-2.0
"""Seeds or latents in, images out."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import stylegan_ops
from stylegan.errors import UserError
from stylegan.imaging import to_pil
from stylegan.inference.batching import default_batch, in_batches
from stylegan.inference.inputs import (
    Numbers,
    Seeds,
    count_of,
    layers_of,
    number_of,
    rows_of,
    seeds_of,
)
from stylegan.inference.labels import Label, Labels, LabelSpace, find_labels
from stylegan.inference.mixing import mixed_ws, mixing_table
from stylegan.inference.motion import moving
from stylegan.inference.records import Mapped, PipelineOutput, Request
from stylegan.inference.replay import CompiledSynthesis, GraphedSynthesis
from stylegan.inference.seeds import latents_of_seeds
from stylegan.inference.truncation import CENTERS, ClassCenters
from stylegan.models.fold import Watch, fold_constants
from stylegan.models.generator import Generator
from stylegan.models.layers import NOISE_MODES
from stylegan.models.precision import wide_dtype
from stylegan.networks import Networks, load_networks


class Pipeline:
    """Generates images with the averaged generator of a snapshot, or with G if there is none.

    Args:
        networks: `Networks` with G_ema or G, which is not changed. What depends on its weights
            alone is computed once (`fold_constants`), and again after `load_state_dict`, a step of
            an optimizer or a cast; not after changes through `.data`.
        compile: run synthesis through torch.compile, which takes about half a minute for each batch
            size. Random noise runs without it. If False, a CUDA GPU replays CUDA graphs.
        truncation_center: what truncation pulls an image towards: "all", the mean of all images, or
            "class", the mean of the image's own class, computed once for each class.
    A pipeline can be copied, pickled and sent to other processes.

    Raises: UserError if there is no generator, nothing can be compiled here, or a network without
        classes shall truncate by class.
    """

    def __init__(
        self, networks: Networks, compile: bool = False, truncation_center: str = "all"
    ) -> None:
        if not isinstance(networks, Networks):
            raise UserError("Pipeline", f"expected Networks, got {type(networks).__name__}")
        G = networks.best_G
        if G is None:
            raise UserError("Pipeline", "there is no generator (G_ema or G)")
        if not isinstance(G, Generator):
            raise UserError("Pipeline", f"expected a Generator as G_ema, got {type(G).__name__}")
        if truncation_center not in CENTERS:
            expected = " or ".join(CENTERS)
            raise UserError("truncation_center", f"expected {expected}, got {truncation_center!r}")
        if truncation_center == "class" and not G.c_dim:
            raise UserError("truncation_center", "this network has no classes, so only all fits")
        self.networks, self.truncation_center = networks, truncation_center
        self.G: Generator = G
        fold_constants(self.G)
        self.watch = Watch(self.G)
        self.device = self.G.mapping.w_avg.device
        self.centers = ClassCenters(self.G) if truncation_center == "class" else None
        self.compiled = CompiledSynthesis(self.G.synthesis) if compile else None
        self.lock = threading.Lock()  # all threads share the transform of the network's input
        cuda = self.device.type == "cuda" and not compile
        self.graphed = GraphedSynthesis(self.G.synthesis) if cuda else None

    def __getstate__(self) -> dict[str, Any]:
        """What `__init__` takes, and the batch; locks, graphs and compiled code are made anew."""
        return {
            "arguments": (self.networks, self.compiled is not None, self.truncation_center),
            "batch": self.__dict__.get("batch"),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(*state["arguments"])  # type: ignore[misc]
        if state["batch"] is not None:
            self.batch = state["batch"]

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        device: str | torch.device = "auto",
        compile: bool = False,
        truncation_center: str = "all",
    ) -> Pipeline:
        """The pipeline of a snapshot, a run or another program's file (see `load_networks`).
        Raises: UserError if it cannot be read."""
        return cls(load_networks(path, device), compile, truncation_center)

    @property
    def dtype(self) -> torch.dtype:
        """Of latents and ws: float64 for a network of float64, else float32."""
        return wide_dtype(self.G.mapping.w_avg)

    @cached_property
    def batch(self) -> int:
        """Images at once by default; smaller after memory has run out."""
        return default_batch(self.G, self.device)

    def __call__(
        self,
        seeds: Seeds | None = None,
        latents: Numbers | None = None,
        ws: Numbers | None = None,
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
            seeds: integers in [0, 2^32), or one; a seed gives the same z on every device.
            latents: [N, z_dim], or one [z_dim], instead of seeds.
            ws: [N, num_ws, w_dim], or one [num_ws, w_dim], instead of either; label and truncation
                do not apply.
            label: class number or name, or a vector [c_dim], for all images; or [N, c_dim]. None:
                the classes in turn by seed, so that consecutive seeds show all that have images. If
                labels are no classes: labels of training images in turn.
            truncation_psi, truncation_cutoff: see `Mapping.forward`.
            noise_mode: const, random (from the seed) or none.
            batch: images at once. None: by resolution, and on CUDA by free memory. If memory runs
                out, the batch is halved. With compile, a shorter list is padded to a full batch.
            translate: (x, y), fractions of the image size, to the right and down. StyleGAN3 only.
            rotate: degrees counter-clockwise around the centre, before the translation. StyleGAN3
                only.
        Returns: `PipelineOutput`. Nothing that is given is changed or kept.
        Raises: UserError for a seed, label, number or shape that does not fit, for a translation or
            rotation of a network other than StyleGAN3, or if nothing can be compiled.
        """
        if sum(v is not None for v in (seeds, latents, ws)) != 1:
            raise UserError("Pipeline", "give exactly one of seeds, latents and ws")
        seeds = None if seeds is None else seeds_of(seeds)
        labels: Sequence[int] | None = None
        self._follow_weights()
        if ws is None:
            mapped = self._map(seeds, latents, label, truncation_psi, truncation_cutoff)
            ws, labels = mapped.ws, mapped.labels
        request = self._request(ws, seeds, noise_mode, batch)
        with torch.inference_mode(), moving(self.G, self.lock, translate, rotate):
            images = self._images(request)
        numbers: list[int | None] = [*labels] if labels else [None] * len(images)
        return PipelineOutput(images, request.ws.cpu(), numbers)

    def map(
        self,
        seeds: Seeds | None = None,
        latents: Numbers | None = None,
        label: Label | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Mapped:
        """The ws of seeds or latents; arguments and errors as for a call."""
        if (seeds is None) == (latents is None):
            raise UserError("Pipeline.map", "give exactly one of seeds and latents")
        self._follow_weights()
        return self._map(seeds, latents, label, truncation_psi, truncation_cutoff)

    def _map(
        self,
        seeds: Seeds | None,
        latents: Numbers | None,
        label: Label | None,
        truncation_psi: float,
        truncation_cutoff: int | None,
    ) -> Mapped:
        psi = number_of(truncation_psi, "truncation_psi")
        cutoff = truncation_cutoff
        cutoff = None if cutoff is None else count_of(cutoff, "truncation_cutoff", 0)
        if seeds is None:
            z = rows_of(latents, "latents", [self.G.z_dim], self.dtype)
            seeds = range(len(z))
        else:
            z = self.latents(seeds := seeds_of(seeds))
        c, numbers = self.labels(label, seeds)
        with torch.inference_mode(False), torch.no_grad():
            c = None if c is None else c.to(self.device)
            ws = self.G.mapping(z.to(self.device), c)
            center = None
            if self.centers is not None and c is not None and psi != 1:
                center = self.centers(c)[:, None]
            return Mapped(self.G.mapping.truncate(ws, psi, cutoff, center), numbers)

    def latents(self, seeds: Seeds) -> torch.Tensor:
        """z [N, z_dim] of seeds, float32 on the CPU (`latents_of_seeds`)."""
        return latents_of_seeds(seeds, self.G.z_dim)

    def labels(self, label: Label | None, seeds: Seeds) -> Labels:
        """The labels of images of `seeds`; `label` and errors as for a call."""
        with torch.inference_mode(False):
            space = LabelSpace.of(self.networks, self.G.c_dim)
            return find_labels(label, seeds_of(seeds), space)

    def mix(
        self,
        row_seeds: Seeds,
        column_seeds: Seeds,
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
        layers = layers_of(layers, self.G.num_ws)
        row_seeds, column_seeds = (
            seeds_of(row_seeds, "row_seeds"),
            seeds_of(column_seeds, "column_seeds"),
        )
        how: Any = {"label": label, "truncation_psi": truncation_psi, "noise_mode": noise_mode}
        rows, columns = self(row_seeds, **how), self(column_seeds, **how)
        mixed = self(ws=mixed_ws(rows.ws, columns.ws, layers), noise_mode=noise_mode).images
        return mixing_table(rows.images, columns.images, mixed)

    def _request(
        self, ws: Numbers, seeds: Sequence[int] | None, noise_mode: str, batch: int | None
    ) -> Request:
        batch = None if batch is None else count_of(batch, "batch", 1)
        if noise_mode not in NOISE_MODES:
            raise UserError(
                "noise_mode", f"expected one of {', '.join(NOISE_MODES)}, got {noise_mode!r}"
            )
        ws = rows_of(ws, "ws", [self.G.num_ws, self.G.w_dim], self.dtype)
        if noise_mode == "random" and not getattr(self.G.config, "use_noise", False):
            noise_mode = "const"  # the same without noise inputs, and faster
        if noise_mode == "random":
            batch = 1  # so that the noise of an image does not depend on the others
        noise_seeds = range(len(ws)) if seeds is None else seeds
        with torch.inference_mode(False):
            ws = ws.to(self.device)
        return Request(ws, noise_mode, noise_seeds, batch or min(self.batch, len(ws)))

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

    def _follow_weights(self) -> None:
        """Compute anew what was computed from weights that have changed since."""
        if self.watch.changed():
            fold_constants(self.G)
            if self.centers:
                self.centers.means.clear()
            if self.graphed:
                self.graphed.clear()

    def _can_free(self) -> bool:
        return bool(self.graphed and self.graphed.graphs)

    def _use_less_memory(self, batch: int) -> None:
        self.batch = min(self.batch, batch)
        if self.graphed:
            self.graphed.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
