# SPDX-License-Identifier: Apache-2.0
"""Drawing with other noise maps than the network's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from stylegan.errors import UserError
from stylegan.inference.pipeline import Pipeline


@contextmanager
def own_noise(pipe: Pipeline, maps: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Inside the block, `pipe` draws with these maps in place of the constant noise of some layers;
    afterwards with the network's own again. One thread at a time, without torch.compile.

    Args:
        pipe: of a network with noise inputs.
        maps: {layer: [H, W] or [1, H, W]}; a layer is called b4.conv1, b8.conv0, ...
    Raises: UserError for a layer that the network does not have, or a map of another size.
    """
    layers: dict[str, Any] = dict(pipe.G.synthesis.named_modules())
    found: list[tuple[Any, torch.Tensor, torch.Tensor]] = []
    for name, value in maps.items():
        layer = layers.get(name)
        own = getattr(layer, "noise_const", None)
        if own is None:
            raise UserError(f"noise.{name}", "the network has no such noise input")
        value = value[0] if value.ndim == 3 and len(value) == 1 else value
        if value.shape != own.shape:
            why = f"expected {list(own.shape)}, got {list(value.shape)}"
            raise UserError(f"noise.{name}", why)
        found.append((layer, own, value.to(own)))
    # Compiled code keeps its constants. Of folded noise and graphs a pipeline notices the change.
    compiled, pipe.compiled = pipe.compiled, None
    try:
        for layer, _, value in found:
            layer.noise_const = value
        yield
    finally:
        for layer, own, _ in found:
            layer.noise_const = own
        pipe.compiled = compiled
