# SPDX-License-Identifier: Apache-2.0
"""Reads StyleGAN2 generators of mmagic (and mmgen, mmediting) and BasicSR.

They are rosinality's networks under other names: nothing is flipped, the bias of the modulation has
its +1, and the noise inputs and filters are the same.

Source: the generators of both programs (Apache-2.0), and their converters from rosinality's files.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace
from typing import Any

import torch

from stylegan.checkpoints.assemble import each_readable
from stylegan.checkpoints.find import Found
from stylegan.checkpoints.formats import Checkpoint
from stylegan.checkpoints.pickle.arrays import Array, contiguous, storage_of
from stylegan.checkpoints.rosinality import reader as rosinality

KERNEL = "convs.0.conv.blur.kernel"
TAPS = (1, 3, 3, 1)


@dataclass(frozen=True)
class Program:
    """A program, and how its names become rosinality's.

    Attributes:
        name: of the program.
        sign: a tensor that all its generators have, and no other program's.
        rules: (pattern, replacement), of which the first that matches the whole name counts.
    """

    name: str
    sign: str
    rules: tuple[tuple[str, str], ...]

    def renamed(self, key: str) -> str:
        """A name of a tensor as rosinality has it."""
        for pattern, replacement in self.rules:
            if re.fullmatch(pattern, key):
                return re.sub(pattern, replacement, key)
        return key


_ORIG = "weight(?:_orig)?"  # equalized weights have the suffix
MMAGIC = Program(
    "mmagic",
    "style_mapping.1.bias",
    (
        (rf"style_mapping\.(\d+)\.linear\.{_ORIG}", r"style.\1.weight"),
        (r"style_mapping\.(\d+)\.bias", r"style.\1.bias"),
        (r"constant_input\.weight", "input.input"),
        (rf"(.*)\.conv\.style_modulation\.linear\.{_ORIG}", r"\1.conv.modulation.weight"),
        (r"(.*)\.conv\.style_modulation\.bias", r"\1.conv.modulation.bias"),
        (rf"(.*)\.conv\.{_ORIG}", r"\1.conv.weight"),
        (r"(.*)\.noise_injector\.weight", r"\1.noise.weight"),
        (r"injected_noise_(\d+)", r"noises.noise_\1"),
    ),
)
BASICSR = Program(
    "BasicSR",
    "style_conv1.activate.bias",
    (
        (r"style_mlp\.(\d+)\.(weight|bias)", r"style.\1.\2"),
        (r"constant_input\.weight", "input.input"),
        (r"style_conv1\.modulated_conv\.(.*)", r"conv1.conv.\1"),
        (r"style_conv1\.weight", "conv1.noise.weight"),
        (r"style_conv1\.activate\.bias", "conv1.activate.bias"),
        (r"style_convs\.(\d+)\.modulated_conv\.(.*)", r"convs.\1.conv.\2"),
        (r"style_convs\.(\d+)\.weight", r"convs.\1.noise.weight"),
        (r"style_convs\.(\d+)\.activate\.bias", r"convs.\1.activate.bias"),
        (r"(to_rgb1|to_rgbs\.\d+)\.modulated_conv\.(.*)", r"\1.conv.\2"),
        (r"noises\.noise(\d+)", r"noises.noise_\1"),
    ),
)
PROGRAMS = (MMAGIC, BASICSR)


def recognises(found: Found) -> bool:
    """Whether a file holds generators of these programs."""
    return _program(found) is not None


def read(found: Found) -> Checkpoint:
    """The networks of such a file. Raises: ValueError if none of its generators can be read."""
    program = _program(found)
    assert program is not None
    generators = {name: s for name, s in found.states.items() if program.sign in s}
    found_here = replace(found, states=generators, modules={})
    states, failed = each_readable(found_here, lambda name: _renamed(generators[name], program))
    result = rosinality.read(replace(found_here, states=states))
    for name, error in failed.items():
        result.leave_out(name, error)
    result.format = f"{program.name} .pth"
    result.stored = generators
    if "D" in found.states:
        result.leave_out("D", f"discriminators of {program.name} are not read")
    return result


def _program(found: Found) -> Program | None:
    for program in PROGRAMS:
        if any(program.sign in found.states.get(name, ()) for name in ("G_ema", "G")):
            return program
    return None


def _renamed(state: dict[str, Any], program: Program) -> dict[str, Any]:
    """A state dict with rosinality's names, and with its filter if the program saves none.

    Raises: ValueError if two tensors get the same name.
    """
    result: dict[str, Any] = {}
    for key, value in state.items():
        name = program.renamed(key) if type(key) is str else key
        if name in result:
            raise ValueError(f"{key} is there twice")
        result[name] = value
    result.setdefault(KERNEL, _kernel())
    return result


def _kernel() -> Array:
    """The usual low-pass filter, [4, 4], as rosinality saves it for up-sampling."""
    numbers = [a * b * 4 / sum(TAPS) ** 2 for a in TAPS for b in TAPS]
    storage = storage_of(struct.pack("<16f", *numbers), torch.float32)
    return Array(storage, 0, (4, 4), contiguous((4, 4)))
