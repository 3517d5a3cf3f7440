# SPDX-License-Identifier: Apache-2.0
"""Seeds or latents in, images out."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from PIL import Image

from stylegan.errors import UserError
from stylegan.inference.checks import generator_of
from stylegan.inference.drawer import Drawer
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
from stylegan.inference.output import PipelineOutput, check_output_type, collect, finish
from stylegan.inference.records import Mapped
from stylegan.inference.seeds import latents_of_seeds
from stylegan.inference.truncation import ClassCenters, center_of
from stylegan.networks import Networks, load_networks
from stylegan.placement import Device


class Pipeline(Drawer):
    """Generates images with the averaged generator of a snapshot, or with G if there is none.

    Args:
        networks: `Networks` with G_ema or G, which only `to` changes. What depends on its weights
            alone is computed once (`fold_constants`), and again after `load_state_dict`, a step of
            an optimizer or a cast; not after changes through `.data`.
        compile: run synthesis through torch.compile, which takes about half a minute for each batch
            size. Random noise runs without it. If False, a CUDA GPU replays CUDA graphs.
        truncation_center: what truncation pulls an image towards: "all", the mean of all images, or
            "class", the mean of images with the same class or label, computed once for each. None:
            class, if the network has labels.
    A pipeline can be copied, pickled and sent to other processes.

    Raises: UserError if there is no generator, nothing can be compiled here, or a network without
        classes shall truncate by class.
    """

    def __init__(
        self, networks: Networks, compile: bool = False, truncation_center: str | None = None
    ) -> None:
        G = generator_of(networks, truncation_center)
        self.networks, self.truncation_center = networks, center_of(G, truncation_center)
        self.lock = threading.Lock()  # all threads share the transform of the network's input
        super().__init__(G, compile)

    def _begin(self, compile: bool) -> None:
        super()._begin(compile)
        self.centers = ClassCenters(self.G) if self.truncation_center == "class" else None

    def _forget(self) -> None:
        if self.centers:
            self.centers.means.clear()

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
        truncation_center: str | None = None,
    ) -> Pipeline:
        """The pipeline of a snapshot, a run or another program's file (see `load_networks`).
        Raises: UserError if it cannot be read."""
        return cls(load_networks(path, device), compile, truncation_center)

    @overload
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
        output_type: Literal["pil"] = "pil",
    ) -> PipelineOutput[list[Image.Image]]: ...

    @overload
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
        *,
        output_type: Literal["np"],
    ) -> PipelineOutput[np.ndarray]: ...

    @overload
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
        *,
        output_type: Literal["pt"],
    ) -> PipelineOutput[torch.Tensor]: ...

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
        output_type: str = "pil",
    ) -> PipelineOutput[Any]:
        """Images of seeds, of latents or of ws.

        Args:
            seeds: integers in [0, 2^32), or one; a seed gives the same z on every device.
            latents: [N, z_dim], or one [z_dim], instead of seeds.
            ws: [N, num_ws, w_dim], or one [num_ws, w_dim], instead of either; label and truncation
                do not apply.
            label: for all images a class, by number or name, a vector [c_dim], or labels by name,
                {"glasses": 1, "hat": 0}; or one for each image, as a list of N of them or as
                vectors [N, c_dim]. [0, 1] is class 0 and class 1, [0.0, 1.0] a vector. Labels that
                are not named are those of training images that have the named ones, in turn by
                seed. None: the classes that have images, or labels of training images, in turn.
            truncation_psi, truncation_cutoff: see `Mapping.forward`.
            noise_mode: const, random (from the seed) or none.
            batch: images at once. None: by resolution, and on CUDA by free memory. If memory runs
                out, the batch is halved. With compile, a shorter list is padded to a full batch.
            translate: (x, y), fractions of the image size, to the right and down. StyleGAN3 only.
            rotate: degrees counter-clockwise around the centre, before the translation. StyleGAN3
                only.
            output_type: of the images: pil, np or pt, see `PipelineOutput`.
        Returns: `PipelineOutput`. Nothing that is given is changed or kept.
        Raises: UserError for a seed, label, number or shape that does not fit, for a translation or
            rotation of a network other than StyleGAN3, or if nothing can be compiled.
        """
        if sum(v is not None for v in (seeds, latents, ws)) != 1:
            raise UserError("Pipeline", "give exactly one of seeds, latents and ws")
        check_output_type(output_type)
        seeds = None if seeds is None else seeds_of(seeds)
        labels: Sequence[int] | None = None
        self._follow_weights()
        if ws is None:
            mapped = self._map(seeds, latents, label, truncation_psi, truncation_cutoff)
            ws, labels = mapped.ws, mapped.labels
        request = self._request(ws, seeds, noise_mode, batch)
        with torch.inference_mode(), moving(self.G, self.lock, translate, rotate):
            items = self._images(request, lambda images: finish(images, output_type))
        numbers: list[int | None] = [*labels] if labels else [None] * len(items)
        return PipelineOutput(collect(items, output_type), request.ws.cpu(), numbers, seeds)

    def to(
        self, device: Device | torch.dtype | None = None, dtype: torch.dtype | None = None
    ) -> Pipeline:
        """Move the networks to a device, or their weights to a dtype; as `Networks.to`.

        Returns: this pipeline. Not while another thread draws with it.
        """
        self.networks.to(device, dtype)
        self._begin(self.compiled is not None)
        return self

    def save_pretrained(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Write the generator that this pipeline draws with as a snapshot folder, which
        `from_pretrained` reads. `pipe.networks.save_pretrained` writes all networks. Arguments,
        result and errors as there."""
        name = "G" if self.networks.G_ema is None else "G_ema"
        return self.networks.save_pretrained(folder, overwrite, [name])

    def __repr__(self) -> str:
        compiled = ["compiled"] if self.compiled else []
        return f"Pipeline({', '.join(self.networks.facts() + compiled)})"

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
            label: one for all images.
            truncation_psi, noise_mode: as for a call.
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
