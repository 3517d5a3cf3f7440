# SPDX-License-Identifier: Apache-2.0
"""Moving and rotating the images of StyleGAN3, at the network's input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from stylegan.errors import UserError
from stylegan.inference.inputs import number_of
from stylegan.models.generator import Generator
from stylegan.models.stylegan3 import make_transform


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


@contextmanager
def moving(
    G: Generator,
    lock: AbstractContextManager[Any],
    translate: tuple[float, float] | None,
    rotate: float | None,
) -> Iterator[None]:
    """Inside the block images are moved, for this thread only.

    Args:
        lock: of all that draw with G.
        translate, rotate: as `make_transform`; None does not move.
    Raises: UserError for a network other than StyleGAN3.
    """
    moves = translate is not None or rotate is not None
    if G.config.model != "stylegan3":
        if moves:
            raise UserError(
                "translate, rotate", "only StyleGAN3 can; this network is StyleGAN2; leave them out"
            )
        yield
        return
    shift = (0.0, 0.0) if translate is None else translate
    motion = make_transform(shift, 0.0 if rotate is None else number_of(rotate, "rotate"))
    with lock:
        if moves:
            with moved_input(G, motion):
                yield
        else:
            yield
