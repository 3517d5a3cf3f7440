# SPDX-License-Identifier: Apache-2.0
"""Seeds or latents in, images out."""

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral

import numpy as np
import torch

import stylegan_ops
from stylegan.errors import UserError
from stylegan.imaging import to_pil
from stylegan.inference.replay import CompiledSynthesis, GraphedSynthesis
from stylegan.models.fold import fold_constants
from stylegan.models.stylegan3 import make_transform
from stylegan.networks import load_networks

# Pixels generated at once unless the caller says: one 1024 px image, 256 of 64 px. More gains
# nothing on a CPU; a GPU takes more where its memory allows.
BATCH_PIXELS, BATCH_PIXELS_CUDA = 1 << 20, 1 << 24
CPU_BYTES = 2 << 30  # for all of them on a CPU, where nothing can be tried again if it was too much
COPIES = 6  # of the largest tensor of a block, alive at a time with what convolutions need


@dataclass(frozen=True)
class PipelineOutput:
    """What a call to a `Pipeline` gives."""

    images: list  # PIL images: grey, RGB or RGBA
    ws: torch.Tensor  # [N, num_ws, w_dim] on the CPU, what they were made from
    labels: list  # class number per image; None without classes or where the label is a vector


class Pipeline:
    """Generates images with the averaged generator of a snapshot.

    Args:
        networks: `Networks` with G_ema, whose weights may not change any more: what follows from
            them is computed here (`fold_constants`).
        compile: run synthesis through torch.compile, about half a minute for every number of images
            at once; not where noise_mode is random. Without it, a CUDA GPU replays CUDA graphs.
    """

    def __init__(self, networks, compile=False):
        if networks.G_ema is None:
            raise UserError("Pipeline", "there is no averaged generator (G_ema)")
        self.networks, self.G = networks, networks.G_ema.eval().requires_grad_(False)
        fold_constants(self.G)
        self.device = next(self.G.parameters()).device
        self.compiled = CompiledSynthesis(self.G.synthesis) if compile else None
        self.lock = threading.Lock()  # synthesis has one transform
        cuda = self.device.type == "cuda" and not compile
        self.graphed = GraphedSynthesis(self.G.synthesis) if cuda else None

    @classmethod
    def from_pretrained(cls, path, device="auto", compile=False):
        """The pipeline of what `load_networks` takes: a snapshot, a run, another program's file.
        Raises: UserError if it cannot be read."""
        return cls(load_networks(path, device), compile)

    @cached_property
    def batch(self):
        """Images at once unless the caller says."""
        return default_batch(self.G, self.device)

    @torch.inference_mode()
    def __call__(
        self,
        seeds=None,
        latents=None,
        ws=None,
        label=None,
        truncation_psi=1.0,
        truncation_cutoff=None,
        noise_mode="const",
        batch=None,
        translate=None,
        rotate=None,
    ):
        """Images of seeds, or of latents, or of ws.

        Args:
            seeds: integers in [0, 2^32); the same seed gives the same z on every device.
            latents: [N, z_dim] in place of seeds.
            ws: [N, num_ws, w_dim] in place of either; label and truncation do not apply.
            label: class number or name, or a vector [c_dim], for all images. None: seed modulo the
                number of classes, so that a row of seeds shows every class.
            truncation_psi, truncation_cutoff: as `Mapping.forward`.
            noise_mode: const, random (from the seed) or none.
            batch: images at once; None: by resolution, and on CUDA by free memory. Where memory
                does not suffice it is halved. With compile a shorter list is filled up to it.
            translate: (x, y), how far to move the pictures to the right and down, in fractions of
                their size; StyleGAN3 only. None: not at all.
            rotate: degrees to turn them by, counter-clockwise about their middle, before they are
                moved; StyleGAN3 only. None: not at all.
        Returns: `PipelineOutput`.
        Raises: UserError for a seed, label or shape that does not fit, for a network whose pictures
            cannot be moved, or if nothing can be compiled.
        """
        if sum(v is not None for v in (seeds, latents, ws)) != 1:
            raise UserError("Pipeline", "give exactly one of seeds, latents and ws")
        if noise_mode == "random" and not getattr(self.G.config, "use_noise", False):
            noise_mode = "const"  # it is the same, and faster
        labels = None
        if ws is None:
            z = self.latents(seeds) if latents is None else torch.as_tensor(latents).float()
            c, labels = self.labels(label, range(len(z)) if seeds is None else seeds)
            c = None if c is None else c.to(self.device)
            ws = self.G.mapping(z.to(self.device), c, truncation_psi, truncation_cutoff)
        ws = torch.as_tensor(ws).to(self.device)
        if ws.shape[1:] != (self.G.num_ws, self.G.w_dim):
            wanted = f"[N, {self.G.num_ws}, {self.G.w_dim}]"
            raise UserError("ws", f"expected {wanted}, got {list(ws.shape)}")
        if noise_mode == "random":
            batch = 1  # so that the noise of an image does not depend on its neighbours
        batch = batch or min(self.batch, len(ws))
        noise_seeds = range(len(ws)) if seeds is None else seeds
        with self._moved(translate, rotate):
            images = self._images(ws, noise_mode, noise_seeds, batch)
        return PipelineOutput(images, ws.cpu(), labels or [None] * len(images))

    @contextmanager
    def _moved(self, translate, rotate):
        """Pictures are drawn in another place, for this thread alone. What is compiled or recorded
        reads the transform as it then is."""
        asked = translate is not None or rotate is not None
        if self.G.config.model != "stylegan3":
            if asked:
                title = self.G.config.title
                raise UserError("translate, rotate", f"only StyleGAN3 can; this network is {title}")
            yield
            return
        transform = self.G.synthesis.input.transform
        with self.lock:
            before = transform.clone()
            try:
                if asked:
                    motion = make_transform(translate or (0.0, 0.0), rotate or 0.0)
                    transform.copy_((before.cpu().double() @ motion).to(before.dtype))
                yield
            finally:
                if asked:
                    transform.copy_(before)

    def _images(self, ws, noise_mode, noise_seeds, batch):
        """PIL images of ws [N, num_ws, w_dim]."""
        images = []
        while len(images) < len(ws):
            start = len(images)
            part = ws[start : start + batch]
            try:
                images += to_pil(self._synthesis(part, noise_mode, int(noise_seeds[start]), batch))
            except torch.OutOfMemoryError:
                if len(part) == 1 and not (self.graphed and self.graphed.graphs):
                    raise
            if len(images) == start:  # here, where nothing of the failed run is alive any more
                batch = max(len(part) // 2, 1)
                self._use_less_memory(batch)
        return images

    def _synthesis(self, ws, noise_mode, noise_seed, batch):
        """[n, C, H, W] of one batch or of the shorter rest of a list."""
        run = self.compiled or self.graphed
        # A CPU takes seconds to find out what its rules know well enough.
        plan = "fixed" if self.device.type == "cpu" else "measure"
        with stylegan_ops.planning(plan, unless_set=True):
            if noise_mode == "random" or run is None:
                return self.G.synthesis(ws, noise_mode, torch.Generator().manual_seed(noise_seed))
            return run(ws, noise_mode, batch)

    def _use_less_memory(self, batch):
        self.batch = min(self.batch, batch)
        if self.graphed:
            self.graphed.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def latents(self, seeds):
        """z [N, z_dim] of seeds, float32 on the CPU.

        Drawn by NumPy's `RandomState`, whose stream is frozen for good (NEP 19) and which published
        StyleGAN images were drawn with: known seeds show known images.
        """
        for seed in seeds:
            if not 0 <= int(seed) < 2**32:
                raise UserError("seed", f"expected an integer from 0 to 2^32 - 1, got {seed}")
        draws = [np.random.RandomState(int(s)).randn(self.G.z_dim) for s in seeds]
        return torch.from_numpy(np.stack(draws).astype(np.float32))

    def labels(self, label, seeds):
        """(c [N, c_dim] or None, class numbers or None) for images of `seeds`."""
        c_dim, names = self.G.c_dim, self.networks.class_names
        if not c_dim:
            if label is not None:
                raise UserError(f"class {label!r}", "this network has no classes")
            return None, None
        if label is not None and not isinstance(label, (str, Integral)):
            c = torch.as_tensor(label, dtype=torch.float32)
            if c.shape != (c_dim,):
                raise UserError("label", f"expected [{c_dim}], got {list(c.shape)}")
            return c.expand(len(seeds), -1), None
        if label is None and not names:
            raise UserError("label", f"this network takes a vector of {c_dim} numbers; give one")
        numbers = [int(s) % c_dim for s in seeds]
        if label is not None:
            numbers = [class_number(label, names, c_dim)] * len(seeds)
        return torch.eye(c_dim)[numbers], numbers

    def mix(
        self, row_seeds, column_seeds, layers, label=None, truncation_psi=1.0, noise_mode="const"
    ):
        """Style mixing: every row's image with the styles of `layers` taken from every column's.

        Args:
            row_seeds, column_seeds: integers.
            layers: indices into ws, from 0 (coarse) to num_ws - 1 (fine).
            label, truncation_psi, noise_mode: as for a call.
        Returns: list of rows of PIL images, (1 + rows) x (1 + columns): the first row shows the
            columns' own images, the first column the rows' own, and the corner is None.
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
        body = [[own, *images[i * n : (i + 1) * n]] for i, own in enumerate(rows.images)]
        return [[None, *columns.images], *body]


def default_batch(G, device):
    """Images that `G` makes at once on `device`: by resolution and memory, on CUDA what is free."""
    height, width = G.config.resolution
    if device.type != "cuda":
        fitting = CPU_BYTES // image_bytes(G, device)
        return max(min(BATCH_PIXELS // (height * width), fitting), 1)
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = torch.cuda.mem_get_info(device)[0] + cached
    fitting = free // 2 // image_bytes(G, device)
    return max(min(BATCH_PIXELS_CUDA // (height * width), fitting), 1)


def image_bytes(G, device):
    """Memory that synthesis takes for one more image, rather too much: `COPIES` of what its largest
    block has of one."""
    largest = max(block.image_bytes(device) for block in G.synthesis.children())
    height, width = G.config.resolution
    return COPIES * (largest + 4 * G.config.channels * height * width)


def class_number(label, names, c_dim):
    """The number of a class given by number or name (case does not matter). Raises: UserError."""
    text = str(label)
    for same in (str, str.casefold):
        for i, name in enumerate(names):
            if same(name) == same(text):
                return i
    if text.isdecimal() and int(text) < c_dim:
        return int(text)
    choices = ", ".join(names[:20]) if names else f"0 to {c_dim - 1}"
    raise UserError(
        f"class {text!r}", f"expected a number from 0 to {c_dim - 1} or one of {choices}"
    )
