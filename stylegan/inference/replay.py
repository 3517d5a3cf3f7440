# SPDX-License-Identifier: Apache-2.0
"""Synthesis of the same shapes again and again: replayed from CUDA graphs, or compiled."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable

import torch

import stylegan_ops
from stylegan.errors import UserError

MAX_GRAPHS = 4  # each holds the memory of a run
WARM_UP_RUNS = 3  # before a capture, as the documentation of torch.cuda.graph recommends

Synthesis = Callable[[torch.Tensor, str], torch.Tensor]  # (ws, noise_mode) -> images
Replay = Callable[[torch.Tensor], torch.Tensor]  # ws -> images


def capture(synthesis: Synthesis, ws: torch.Tensor, noise_mode: str) -> Replay:
    """A function of ws, of this shape, that replays one recorded run of `synthesis` on the GPU.

    Raises: RuntimeError if the run cannot be recorded.
    """
    with torch.cuda.device(ws.device):
        static_ws = ws.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_RUNS):
                synthesis(static_ws, noise_mode)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            static_images = synthesis(static_ws, noise_mode)
        done = torch.cuda.Event()
        done.record()

    def replay(ws: torch.Tensor) -> torch.Tensor:
        with torch.cuda.device(static_ws.device):
            done.wait()  # the previous run may have been on another stream
            static_ws.copy_(ws)
            graph.replay()
            images = static_images.clone()
            done.record()
        return images

    return replay


class GraphedSynthesis:
    """synthesis(ws, noise_mode) that replays a CUDA graph from the second run of a shape on: for
    small images, launching the kernels takes longer than running them.

    If a graph cannot be captured, a warning says why and everything runs eagerly from then on.

    Args:
        synthesis: function (ws, noise_mode) -> images without randomness, called in inference mode.
        capture: function (synthesis, ws, noise_mode) -> function ws -> images.
        max_graphs: how many graphs to keep; the one unused for longest is dropped.
    """

    def __init__(
        self,
        synthesis: Synthesis,
        capture: Callable[[Synthesis, torch.Tensor, str], Replay] = capture,
        max_graphs: int = MAX_GRAPHS,
    ) -> None:
        self.synthesis, self.max_graphs = synthesis, max_graphs
        self.capture: Callable[[Synthesis, torch.Tensor, str], Replay] | None = capture
        self.seen: set[tuple] = set()
        self.graphs: OrderedDict[tuple, Replay] = OrderedDict()
        self.lock = threading.Lock()  # a graph has one input and one output

    def __call__(self, ws: torch.Tensor, noise_mode: str, batch: int) -> torch.Tensor:
        """Images of ws [n, num_ws, w_dim]: one batch, or the shorter rest of a list, which runs
        eagerly."""
        if len(ws) == batch:
            key = len(ws), noise_mode, stylegan_ops.mode()
            with self.lock:
                replay = self._graph(key, ws, noise_mode)
                if replay:
                    return replay(ws)
        return self.synthesis(ws, noise_mode)

    def clear(self) -> None:
        """Free the memory of all graphs."""
        with self.lock:
            self.graphs.clear()
            self.seen.clear()

    def _graph(self, key: tuple, ws: torch.Tensor, noise_mode: str) -> Replay | None:
        """The graph of `key`, captured on its second use; None to run eagerly."""
        if key in self.graphs:
            self.graphs.move_to_end(key)
            return self.graphs[key]
        if key not in self.seen or self.capture is None:
            self.seen.add(key)
            return None
        while len(self.graphs) >= self.max_graphs:
            self.seen.discard(self.graphs.popitem(last=False)[0])
        try:
            self.graphs[key] = self.capture(self.synthesis, ws, noise_mode)
        except RuntimeError as e:  # any CUDA error, also out of memory: it runs without a graph
            self.capture = None
            reason = str(e).strip().partition("\n")[0]
            warnings.warn(f"no CUDA graphs, so small batches are slower: {reason}", stacklevel=2)
        return self.graphs.get(key)


class CompiledSynthesis:
    """synthesis(ws, noise_mode) through torch.compile, once for each shape.

    Args: synthesis: function (ws, noise_mode) -> images.
    Raises: UserError if torch.compile does not work here. Often only the first call shows that.
    """

    def __init__(self, synthesis: Synthesis) -> None:
        self.synthesis = synthesis
        self.refused: set[tuple[int, str]] = set()  # (batch, noise_mode) that run eagerly
        try:
            self.compiled = torch.compile(synthesis, dynamic=False, fullgraph=True)
        except RuntimeError as e:  # for example: this version of Python is too new
            raise _no_compiler(e) from e

    def __call__(self, ws: torch.Tensor, noise_mode: str, batch: int) -> torch.Tensor:
        """Images of ws [n, num_ws, w_dim]: one batch, or the shorter rest of a list. The rest is
        padded to a full batch, because compiling another shape takes far longer.

        Raises: UserError if torch.compile does not work here.
        """
        n, key = len(ws), (batch, noise_mode)
        if key in self.refused:
            return self.synthesis(ws, noise_mode)
        padded = torch.cat([ws, ws[-1:].expand(batch - n, -1, -1)]) if n < batch else ws
        try:
            return self.compiled(padded, noise_mode)[:n]
        except torch._dynamo.exc.FailOnRecompileLimitHit:  # torch allows eight shapes
            self.refused.add(key)
        except torch._dynamo.exc.TorchDynamoException as e:
            raise _no_compiler(e) from e
        return self.synthesis(ws, noise_mode)


def _no_compiler(error: BaseException) -> UserError:
    message = str(getattr(error, "inner_exception", error))  # the back end's, if it failed there
    reason = message.strip().partition("\n")[0].rstrip(".")
    return UserError(
        "compile",
        f"torch.compile does not work here ({reason}); "
        "without --compile (in Python compile=False) it runs",
    )
