# SPDX-License-Identifier: Apache-2.0
"""Images of ws, in batches that fit, the fastest way that the device has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import torch

import stylegan_ops
from stylegan.errors import UserError
from stylegan.inference.batching import default_batch, in_batches
from stylegan.inference.checks import hint_for
from stylegan.inference.inputs import Numbers, count_of, rows_of
from stylegan.inference.records import Request
from stylegan.inference.replay import CompiledSynthesis, GraphedSynthesis
from stylegan.models.fold import Watch, fold_constants
from stylegan.models.generator import Generator
from stylegan.models.layers import NOISE_MODES
from stylegan.models.precision import wide_dtype

Item = TypeVar("Item")


class Drawer:
    """Draws with a generator.

    Args:
        G: the generator. What depends on its weights alone is computed once.
        compile: run synthesis through torch.compile. If False, a CUDA GPU replays CUDA graphs.
    Raises: UserError if nothing can be compiled here.
    """

    def __init__(self, G: Generator, compile: bool) -> None:
        self.G: Generator = G
        self._begin(compile)

    def _begin(self, compile: bool) -> None:
        """Compute what depends on the weights and their device, now and after each move."""
        fold_constants(self.G)
        self.watch = Watch(self.G)
        self.device = self.G.mapping.w_avg.device
        self.compiled = CompiledSynthesis(self.G.synthesis) if compile else None
        cuda = self.device.type == "cuda" and not compile
        self.graphed = GraphedSynthesis(self.G.synthesis) if cuda else None
        self.__dict__.pop("batch", None)

    if not TYPE_CHECKING:  # type checkers shall find wrong names

        def __getattr__(self, name: str) -> Any:
            message = f"a pipeline has no {name!r}{hint_for(name)}"
            raise AttributeError(message, name=name, obj=self)

    @property
    def dtype(self) -> torch.dtype:
        """Of latents and ws: float64 for a network of float64, else float32."""
        return wide_dtype(self.G.mapping.w_avg)

    @cached_property
    def batch(self) -> int:
        """Images at once by default; smaller after memory has run out."""
        return default_batch(self.G, self.device)

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

    def _images(self, request: Request, finish: Callable[[torch.Tensor], list[Item]]) -> list[Item]:
        """One item for each of the ws; `finish` makes those of a batch [n, C, H, W]."""

        def run(start: int, end: int, batch: int) -> list[Item]:
            return finish(self._synthesis(request, start, end, batch))

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
            if self.graphed:
                self.graphed.clear()
            self._forget()

    def _forget(self) -> None:
        """Drop what else was computed from the weights."""

    def _can_free(self) -> bool:
        return bool(self.graphed and self.graphed.graphs)

    def _use_less_memory(self, batch: int) -> None:
        self.batch = min(self.batch, batch)
        if self.graphed:
            self.graphed.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
