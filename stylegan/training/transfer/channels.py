# SPDX-License-Identifier: Apache-2.0
"""The layers to and from image channels of another network, for images with other channels.

Grey is the luma of RGB (ITU-R BT.601, as images are converted), RGB of grey has it three times, and
a new alpha channel is opaque.
"""

from __future__ import annotations

import math

import torch

from stylegan.training.transfer.units import State
from stylegan.words import KINDS

LUMA = (0.299, 0.587, 0.114)


def note(there: int, here: int) -> str:
    """What the table says of such a layer."""
    return f"made {KINDS[here]} from {KINDS[there]}"


def convert_images(there: int, here: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(M [here, there], m [here]): the pixel with `here` channels of a pixel x with `there`, in
    [-1, 1], is M x + m."""
    rgb = {1: torch.ones(3, 1), 3: torch.eye(3), 4: torch.eye(3, 4)}[there]
    matrix = torch.tensor([LUMA]) @ rgb if here == 1 else rgb
    if here == 4:
        matrix = torch.cat([matrix, torch.zeros(1, there)])
    offset = torch.zeros(here)
    if here == 4 and there == 4:
        matrix = torch.eye(4)
    elif here == 4:
        offset[3] = 1
    return matrix, offset


def to_image(layer: State, there: int, here: int, alpha: float) -> State:
    """A layer that makes image channels, for other channels.

    Args:
        layer: weight [there, C, 1, 1], bias [there], and others that do not change.
        there, here: channels of the images.
        alpha: the bias that makes a new alpha channel opaque; 0 in a layer that others add to.
    """
    matrix, offset = convert_images(there, here)
    state = dict(layer)
    for key, value in layer.items():
        if value.ndim == 4:
            state[key] = torch.einsum("ds,scij->dcij", matrix, value.float())
        elif key.endswith(".bias") and not key.endswith("affine.bias"):
            state[key] = matrix @ value.float() + offset * alpha
    return state


def from_image(layer: State, there: int, here: int) -> State:
    """A layer that reads image channels, weight [C, there, 1, 1] and bias [C], for other ones."""
    matrix, offset = convert_images(here, there)
    state = dict(layer)
    (weight,) = (key for key in layer if key.endswith("weight"))
    (bias,) = (key for key in layer if key.endswith("bias"))
    old = layer[weight].float()
    scale = math.sqrt(here / there)  # of the equalized learning rate
    state[weight] = torch.einsum("csij,sd->cdij", old, matrix) * scale
    state[bias] = layer[bias] + old[:, :, 0, 0] @ offset / math.sqrt(there)
    return state
