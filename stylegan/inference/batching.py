# SPDX-License-Identifier: Apache-2.0
"""How many images to generate at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

from stylegan.models.generator import Generator

# Maximum number of pixels in a batch: one image of 1024 px, or 256 of 64 px. A larger batch is no
# faster on a CPU. A GPU takes more if its memory allows.
BATCH_PIXELS, BATCH_PIXELS_CUDA = 1 << 20, 1 << 24
CPU_BYTES = 2 << 30  # for a batch on a CPU, which does not report that memory has run out
COPIES = 6  # of the largest tensor of a block, alive at once; includes the convolution's workspace

Result = TypeVar("Result")


def default_batch(G: Generator, device: torch.device) -> int:
    """Images that `G` generates at once on `device`: by resolution and, on CUDA, free memory."""
    height, width = G.config.resolution
    if device.type != "cuda":
        fitting = CPU_BYTES // image_bytes(G, device)
        return max(min(BATCH_PIXELS // (height * width), fitting), 1)
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = torch.cuda.mem_get_info(device)[0] + cached
    fitting = free // 2 // image_bytes(G, device)
    return max(min(BATCH_PIXELS_CUDA // (height * width), fitting), 1)


def image_bytes(G: Generator, device: torch.device) -> int:
    """Memory that synthesis takes for one more image: an upper estimate, `COPIES` times what its
    largest block holds of one image."""
    blocks: list[Any] = list(G.synthesis.children())
    largest = max(block.image_bytes(device) for block in blocks)
    height, width = G.config.resolution
    return COPIES * (largest + 4 * G.config.channels * height * width)


def in_batches(
    run: Callable[[int, int, int], list[Result]],
    count: int,
    batch: int,
    can_free: Callable[[], bool],
    free: Callable[[int], None],
) -> list[Result]:
    """The results of items 0 to count - 1. A batch that does not fit in memory is halved.

    Args:
        run: function (start, end, batch) -> list of one result per item from start to end - 1;
            end - start is `batch`, or less at the end of the list.
        can_free: function () -> whether `free` helps a single item that does not fit.
        free: function (batch), called after a failure with the batch to try next.
    Raises: torch.OutOfMemoryError if a single item does not fit and nothing can be freed.
    """
    results: list[Result] = []
    while len(results) < count:
        start = len(results)
        end = min(start + batch, count)
        try:
            results += run(start, end, batch)
        except torch.OutOfMemoryError:
            if end - start == 1 and not can_free():
                raise
        if len(results) == start:  # after the except block, so that the failed run holds no memory
            batch = max((end - start) // 2, 1)
            free(batch)
    return results
