# SPDX-License-Identifier: Apache-2.0
"""Moving and rotating the images of StyleGAN3, at the network's input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from stylegan.models.generator import Generator


@contextmanager
def moved_input(G: Generator, motion: torch.Tensor) -> Iterator[None]:
    """Inside the block, `G` draws images moved by `motion`; afterwards its transform is restored.

    A compiled or recorded network reads the transform when it runs, so it follows too. One thread
    at a time.

    Args:
        G: a StyleGAN3 generator.
        motion: [3, 3] float64 on the CPU (`make_transform`), applied after the transform that the
            network already has.
    """
    transform = G.synthesis.get_buffer("input.transform")
    before = transform.clone()
    try:
        transform.copy_((before.cpu().double() @ motion).to(before.dtype))
        yield
    finally:
        transform.copy_(before)
