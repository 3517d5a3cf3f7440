# SPDX-License-Identifier: Apache-2.0
"""Which files hold networks, without reading them. Needs no PyTorch."""

from __future__ import annotations

import os
from pathlib import Path

from stylegan.identify import Role, identify

SUFFIXES = (".pkl", ".pt", ".pth", ".ckpt", ".safetensors")


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one that holds networks, by its first bytes and its name."""
    kind = identify(path) if Path(path).is_file() else None
    return kind is not None and kind.role is Role.NETWORK
