# SPDX-License-Identifier: Apache-2.0
"""How much there is to compute for an image, to compare settings without trying them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stylegan.config import Config
from stylegan.models.build import Unfilled, build_discriminator, build_generator

# Forward passes that take as long as a step: G runs forward and backward for its own loss and
# forward for that of D; D runs backward to its input for G and twice in full for itself. A backward
# in full takes two forward passes. Regularizers run backward twice, which takes six.
OF_G, OF_D, TWICE = 4, 8, 6
# A value that is written takes as long as this many operations of a convolution, measured on an
# EPYC with `auto`, `small` and `demo` at 32 to 256 px. A comparison of two settings is
# a guess all the same: it is mostly within a factor of 2, but a factor of 4 was seen.
OPERATIONS_PER_VALUE = 300


def work_of(config: Config) -> float:
    """Operations per image of a training step, in units that are the same for all settings.

    Args: config: a resolved `Config`.
    """
    with torch.device("meta"), Unfilled():
        G, D = build_generator(config.G), build_discriminator(config.D)
    t = config.train
    n = t.batch_gpu
    with torch.device("meta"), torch.no_grad():
        ws, c = torch.empty(n, G.num_ws, G.w_dim), torch.empty(n, config.D.c_dim)
        images = torch.empty(n, config.D.channels, *config.D.resolution)
        of_G = _counted(lambda: G.synthesis(ws))
        of_D = _counted(lambda: D(images, c if config.D.c_dim else None))
    runs_of_G, runs_of_D = float(OF_G), float(OF_D)
    if t.pl_weight:
        runs_of_G += TWICE / t.pl_interval / t.pl_batch_shrink
    if t.r1_gamma:
        runs_of_D += TWICE / t.r1_interval
    return (runs_of_G * of_G + runs_of_D * of_D) / n


def _counted(run: Callable[[], object]) -> float:
    with _Counter() as counter:
        run()
    return counter.operations


class _Counter(TorchDispatchMode):
    """Counts the operations of convolutions and matrix products, and the values that they write."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0.0

    def __torch_dispatch__(
        self, op: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = op(*args, **(kwargs or {}))
        name = op.overloadpacket.__name__
        if name == "convolution":
            x, w, transposed = args[0], args[1], args[6]
            grid = x if transposed else result
            self.operations += 2 * grid.numel() * w[0].numel()
            self.operations += OPERATIONS_PER_VALUE * result.numel()
        elif name in ("mm", "addmm"):
            left, right = args[-2:]
            self.operations += 2 * left.numel() * right.shape[1]
        return result
