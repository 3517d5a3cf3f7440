# SPDX-License-Identifier: Apache-2.0
"""From a file of another program to networks."""

import hashlib
from pathlib import Path

from stylegan.checkpoints.formats import check_growth
from stylegan.checkpoints.nvidia import reader as nvidia
from stylegan.checkpoints.pickle.container import read_root
from stylegan.checkpoints.pickle.nodes import Node
from stylegan.checkpoints.pickle.torchfile import ZIP
from stylegan.checkpoints.rosinality import reader as rosinality
from stylegan.checkpoints.tensorflow import reader as tensorflow
from stylegan.errors import CheckpointError
from stylegan.words import one_line

FORMATS = (nvidia, tensorflow, rosinality)
SUFFIXES = (".pkl", ".pt", ".pth", ".ckpt")
# What a file that means nothing makes of code that expects something.
DAMAGE = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    ArithmeticError,
    RuntimeError,
)


def is_checkpoint(path):
    """Whether a file looks like a checkpoint, by its name or how it begins."""
    path = Path(path)
    if not path.is_file():
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    with open(path, "rb") as f:
        start = f.read(512)
    of_torch = start.startswith(ZIP) and b"/data.pkl" in start[30:]  # its first file
    return of_torch or start[:1] == b"\x80"


def open_checkpoint(path):
    """What is in a checkpoint. Nothing of the file is run, and tensors stay in it until they are
    asked for.

    Args: path: NVIDIA's .pkl (PyTorch and TensorFlow), rosinality's .pt.
    Returns: `Checkpoint`; with config None and a reason if its networks cannot be built here.
    Raises: CheckpointError (a ValueError) if it is refused, damaged or of another kind; OSError.
    """
    _, root = read_root(path)
    try:
        for kind in FORMATS:
            if kind.recognises(root):
                checkpoint = kind.read(root)
                checkpoint.code = _code(root)
                for name, tensors in checkpoint.stored.items():
                    check_growth(name, tensors)
                return checkpoint
    except DAMAGE as e:
        plain = isinstance(e, ValueError) and not isinstance(e, UnicodeError)
        reason = one_line(e, 300)
        raise CheckpointError(path, f"{'' if plain else 'damaged: '}{reason}") from e
    raise CheckpointError(
        path,
        "holds no networks that are known here (NVIDIA's G, D, G_ema; a tuple of "
        "TensorFlow networks; rosinality's g_ema)",
    )


def _code(root):
    """Characters of the longest source text that came with a network."""
    nodes = root if type(root) is tuple else root.values()
    lengths = [0]
    for node in nodes:
        if type(node) is Node:
            text = node.get("build_module_src", "")
            lengths.append(max(node.code, len(text) if type(text) is str else 0))
    return max(lengths)


def sha256(path):
    """The hash of a file, in hexadecimal."""
    with open(path, "rb") as f:
        digest = hashlib.sha256()
        while chunk := f.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
