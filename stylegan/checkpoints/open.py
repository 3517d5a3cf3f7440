# SPDX-License-Identifier: Apache-2.0
"""From a file of another program to networks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from stylegan.checkpoints.contents import contents
from stylegan.checkpoints.find import Found, find_networks
from stylegan.checkpoints.formats import Checkpoint, check_growth
from stylegan.checkpoints.nvidia import reader as nvidia
from stylegan.checkpoints.pickle.container import read_root
from stylegan.checkpoints.rosinality import reader as rosinality
from stylegan.checkpoints.state_dict import reader as state_dict
from stylegan.checkpoints.state_dict import renamed
from stylegan.checkpoints.state_dict.families import FAMILIES, LOOKALIKES, Named
from stylegan.checkpoints.state_dict.like import current_like
from stylegan.checkpoints.state_dict.safetensors import read_safetensors
from stylegan.checkpoints.tensorflow import reader as tensorflow
from stylegan.errors import CheckpointError
from stylegan.identify import KINDS, Role, identify, not_a_network
from stylegan.words import one_line


@dataclass(frozen=True)
class Format:
    """A format that can be read.

    Attributes:
        recognises: whether the networks in a file are of this format.
        read: these networks; raises ValueError.
    """

    recognises: Callable[[Found], bool]
    read: Callable[[Found], Checkpoint]


FORMATS = tuple(
    Format(module.recognises, module.read)
    for module in (
        nvidia,
        tensorflow,
        Named(LOOKALIKES),
        renamed,
        rosinality,
        state_dict,
        Named(FAMILIES),
    )
)
OWN_SETTINGS = "holds its own settings; leave --like out"
# Errors of readers on a file that is damaged in a way that they do not check for.
DAMAGE = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    ArithmeticError,
    RuntimeError,
)


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Open a checkpoint. Nothing in the file is run, and tensors stay in it until they are read.

    Args: path: NVIDIA's .pkl (PyTorch or TensorFlow), rosinality's .pt, or a state dict.
    Returns: the networks; with config None and a reason if they cannot be built here.
    Raises: CheckpointError if the file is refused, damaged or of an unknown kind; OSError.
    """
    kind = identify(path)
    if kind is None or kind.role is not Role.NETWORK or kind.step:
        raise CheckpointError(path, not_a_network(path))
    root = (read_safetensors if kind is KINDS["safetensors"] else read_root)(path)
    try:
        found = find_networks(root)
        for format in FORMATS:
            if format.recognises(found):
                checkpoint = format.read(found)
                checkpoint.code = _code(found)
                _limit(checkpoint)
                if current_like() and checkpoint.format != state_dict.FORMAT:
                    raise ValueError(OWN_SETTINGS)
                return checkpoint
    except DAMAGE as e:
        expected = isinstance(e, ValueError) and not isinstance(e, UnicodeError)
        reason = one_line(e, 300)
        raise CheckpointError(path, f"{'' if expected else 'damaged: '}{reason}") from e
    raise CheckpointError(
        path,
        "contains no known networks (expected NVIDIA's, rosinality's or a state dict); it holds "
        + contents(root),
    )


def sha256(path: str | os.PathLike[str]) -> str:
    """The hash of a file, in hexadecimal."""
    with open(path, "rb") as f:
        digest = hashlib.sha256()
        while chunk := f.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _limit(checkpoint: Checkpoint) -> None:
    """Drop networks whose tensors overlap so much that a small file would give a large network.

    Raises: ValueError if that is a generator.
    """
    for name, tensors in list(checkpoint.stored.items()):
        try:
            check_growth(name, tensors)
        except ValueError as e:
            if name != "D":
                raise
            checkpoint.leave_out(name, e)
            del checkpoint.stored[name]


def _code(found: Found) -> int:
    """Characters of the longest source text that came with a network."""
    lengths = [0]
    for node in found.modules.values():
        text = node.get("build_module_src", "")
        lengths.append(max(node.code, len(text) if type(text) is str else 0))
    return max(lengths)
