# SPDX-License-Identifier: Apache-2.0
"""Memory of a training step: measured, and estimated before the first one."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

from stylegan.config import Config
from stylegan.models.build import build_discriminator, build_generator
from stylegan.models.discriminator import Discriminator
from stylegan.models.generator import Generator
from stylegan.models.precision import network_precision
from stylegan.training import losses

PROCESS_GB = 0.4  # interpreter, torch and its libraries, measured on Linux
WORKSPACE = 1.25  # gradients in flight and convolution buffers over what the graph keeps, measured


def peak_memory_gb(device: torch.device) -> float:
    """Peak memory so far, in 10^9 bytes: allocated on a CUDA device, resident in the process
    elsewhere. 0 if the system does not report it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def estimate_memory_gb(config: Config, device: torch.device) -> float:
    """Peak memory of training, in 10^9 bytes, from the shapes alone.

    Networks on the meta device run the phases of a step, while the tensors that autograd keeps are
    counted. Adam holds two more copies of every parameter, the gradient one, and the average of G
    one.

    Args:
        config: a resolved `Config`.
        device: that will train; CUDA keeps low-precision blocks in 2 bytes.
    """
    low = network_precision(config.G)
    low = "float16" if device.type == "cuda" and low == "auto" else low
    with torch.device("meta"):
        G = build_generator(config.G, precision=low)
        D = build_discriminator(config.D, precision=low)
    weights = 4 * (5 * _count(G) + 4 * _count(D))
    t = config.train
    kept = [_kept(lambda: _g_main(G, D, t.batch_gpu))]
    if t.pl_weight:
        kept.append(_kept(lambda: _path_length(G, max(t.batch_gpu // t.pl_batch_shrink, 1))))
    if t.r1_gamma:
        kept.append(_kept(lambda: _r1(D, t.batch_gpu)))
    process = 0 if device.type == "cuda" else PROCESS_GB
    return (weights + WORKSPACE * max(kept)) / 1e9 + process


def _g_main(G: Generator, D: Discriminator, n: int) -> torch.Tensor:
    return D(G.synthesis(_ws(G, n)), _c(D, n))


def _path_length(G: Generator, n: int) -> torch.Tensor:
    ws = _ws(G, n)
    return losses.path_lengths(G.synthesis(ws), ws)


def _r1(D: Discriminator, n: int) -> torch.Tensor:
    images = torch.empty(n, D.config.channels, *D.resolution, device="meta", requires_grad=True)
    return losses.r1_penalty(images, D(images, _c(D, n)))


def _ws(G: Generator, n: int) -> torch.Tensor:
    return torch.empty(n, G.num_ws, G.w_dim, device="meta", requires_grad=True)


def _c(D: Discriminator, n: int) -> torch.Tensor | None:
    return torch.empty(n, D.c_dim, device="meta") if D.c_dim else None


def _count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _kept(run: Callable[[], torch.Tensor]) -> int:
    """Bytes that the graph of `run()` keeps for its backward, without parameters."""
    seen: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            seen[id(tensor)] = tensor  # kept alive, so that no other tensor gets its id
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = run()
    del result
    return sum(t.numel() * t.element_size() for t in seen.values())
