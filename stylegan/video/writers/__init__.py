# SPDX-License-Identifier: Apache-2.0
"""Video files, written frame by frame, in one file per format.

Memory does not grow with the number of frames. For that the containers of WebP and GIF, lists of
frames with their durations, are written here: Pillow collects an animation in memory first.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from stylegan.errors import UserError
from stylegan.video.writers.base import Writer
from stylegan.video.writers.gif import Gif
from stylegan.video.writers.mp4 import Mp4
from stylegan.video.writers.webp import WebP

__all__ = ["WRITERS", "Gif", "Mp4", "WebP", "Writer", "writer_for"]

WRITERS: dict[str, type[Writer]] = {".mp4": Mp4, ".webp": WebP, ".gif": Gif}


def writer_for(path: str | os.PathLike[str]) -> type[Writer]:
    """The class that writes files with the suffix of `path`.

    Raises: UserError for another suffix, or if a package that it needs is not installed.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        *first, last = WRITERS
        raise UserError(path, f"expected a name that ends in {', '.join(first)} or {last}")
    if suffix == ".mp4" and importlib.util.find_spec("av") is None:
        raise UserError(
            path, ".mp4 needs PyAV, pip install 'stylegan[video]'; .webp and .gif do not"
        )
    return WRITERS[suffix]
