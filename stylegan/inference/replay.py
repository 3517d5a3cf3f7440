# SPDX-License-Identifier: Apache-2.0
"""Synthesis of the same shapes over and over: replayed from CUDA graphs, or compiled."""

import threading
import warnings
from collections import OrderedDict

import torch

import stylegan_ops
from stylegan.errors import UserError

GRAPHS = 4  # kept; each holds the memory of a run
WARM_UP = 3  # runs before a capture, as PyTorch's documentation of torch.cuda.graph has it


def capture(synthesis, ws, noise_mode):
    """A function of ws, of this shape, that replays one recorded run of `synthesis` on the GPU.

    Raises: RuntimeError if the run cannot be recorded.
    """
    with torch.cuda.device(ws.device):
        static_ws = ws.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                synthesis(static_ws, noise_mode)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            static_images = synthesis(static_ws, noise_mode)
        done = torch.cuda.Event()
        done.record()

    def replay(ws):
        with torch.cuda.device(static_ws.device):
            done.wait()  # the run before may have been on another stream
            static_ws.copy_(ws)
            graph.replay()
            images = static_images.clone()
            done.record()
        return images

    return replay


class GraphedSynthesis:
    """synthesis(ws, noise_mode) that replays a CUDA graph from the second run of a shape on: at
    small sizes launching the kernels takes longer than running them.

    Where a graph cannot be captured everything runs eagerly, with one warning.

    Args:
        synthesis: function (ws, noise_mode) -> images without randomness, called in inference mode.
        capture: function (synthesis, ws, noise_mode) -> function ws -> images.
        size: graphs to keep, the ones used last.
    """

    def __init__(self, synthesis, capture=capture, size=GRAPHS):
        self.synthesis, self.capture, self.size = synthesis, capture, size
        self.seen, self.graphs = set(), OrderedDict()
        self.lock = threading.Lock()  # a graph has one input and one output

    def __call__(self, ws, noise_mode, batch):
        """Images of ws [n, num_ws, w_dim], a batch or the shorter rest of a list in batches."""
        if len(ws) == batch:
            key = len(ws), noise_mode, stylegan_ops.mode()
            with self.lock:
                replay = self._graph(key, ws, noise_mode)
                if replay:
                    return replay(ws)
        return self.synthesis(ws, noise_mode)

    def _graph(self, key, ws, noise_mode):
        """The graph of `key`, captured if it is its turn; None to run eagerly."""
        if key in self.graphs:
            self.graphs.move_to_end(key)
            return self.graphs[key]
        if key not in self.seen or self.capture is None:
            self.seen.add(key)
            return None
        while len(self.graphs) >= self.size:
            self.seen.discard(self.graphs.popitem(last=False)[0])
        try:
            self.graphs[key] = self.capture(self.synthesis, ws, noise_mode)
        except RuntimeError as e:  # of CUDA, memory included: a graph is never needed
            self.capture = None
            reason = str(e).strip().partition("\n")[0]
            warnings.warn(f"no CUDA graphs, so small batches are slower: {reason}", stacklevel=2)
        return self.graphs.get(key)

    def clear(self):
        """Give the memory of all graphs back."""
        with self.lock:
            self.graphs.clear()
            self.seen.clear()


class CompiledSynthesis:
    """synthesis(ws, noise_mode) through torch.compile, once for each shape.

    Args: synthesis: function (ws, noise_mode) -> images.
    Raises: UserError if nothing can be compiled here; most of what may be missing shows in the
        first call.
    """

    def __init__(self, synthesis):
        self.synthesis, self.refused = synthesis, set()
        try:
            self.compiled = torch.compile(synthesis, dynamic=False, fullgraph=True)
        except RuntimeError as e:  # a Python that is too new, for one
            raise _no_compiler(e) from e

    def __call__(self, ws, noise_mode, batch):
        """Images of ws [n, num_ws, w_dim], a batch or the shorter rest of a list in batches, which
        is filled up: compiling another shape takes far longer.

        Raises: UserError if nothing can be compiled here.
        """
        n, key = len(ws), (batch, noise_mode)
        if key in self.refused:
            return self.synthesis(ws, noise_mode)
        filled = torch.cat([ws, ws[-1:].expand(batch - n, -1, -1)]) if n < batch else ws
        try:
            return self.compiled(filled, noise_mode)[:n]
        except torch._dynamo.exc.FailOnRecompileLimitHit:  # of torch: eight shapes
            self.refused.add(key)
        except torch._dynamo.exc.TorchDynamoException as e:
            raise _no_compiler(e) from e
        return self.synthesis(ws, noise_mode)


def _no_compiler(error):
    said = str(getattr(error, "inner_exception", error))  # by the back end, if it was the back end
    reason = said.strip().partition("\n")[0].rstrip(".")
    return UserError(
        "compile",
        f"torch.compile does not work here ({reason}); "
        "without --compile (in Python compile=False) it runs",
    )
