# SPDX-License-Identifier: Apache-2.0
"""What writers of all formats share."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from PIL import Image

from stylegan.errors import UserError
from stylegan.files import whole_file


class Writer:
    """A video file that appears complete when the `with` block ends without an error, or not at
    all.

    Args:
        path: the file; its folder exists.
        size: (width, height) in px of every frame.
        fps: frames per second, a whole number.
        loop: repeat forever (WebP and GIF).
        metadata: how the video was made, which the file holds as JSON.
    Raises: UserError if the format cannot hold such a video or the file cannot be written; OSError
        that names `path` if writing fails later on.
    """

    max_side = 0  # px
    max_fps = 1000

    def __init__(
        self,
        path: str | os.PathLike[str],
        size: tuple[int, int],
        fps: int,
        loop: bool = True,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.metadata = dict(metadata or {})
        self.path, self.size, self.fps, self.loop, self.count = Path(path), size, fps, loop, 0
        self.check(path, size, fps)
        with contextlib.ExitStack() as stack:
            try:
                self.file = stack.enter_context(whole_file(path)).open("w+b")
            except OSError as e:
                raise UserError(path, f"cannot be written ({e.strerror})") from e
            stack.callback(self._close)
            self._begin()
            self._stack = stack.pop_all()

    @classmethod
    def check(cls, path: str | os.PathLike[str], size: tuple[int, int], fps: int) -> None:
        """Raises: UserError if the format cannot hold such a video."""
        suffix = Path(path).suffix
        if max(size) > cls.max_side:
            raise UserError(
                path, f"{suffix} holds at most {cls.max_side} px a side, not {size[0]}x{size[1]}"
            )
        if fps > cls.max_fps:
            raise UserError(path, f"{suffix} shows at most {cls.max_fps} frames per second")

    def add(self, image: Image.Image) -> None:
        """Write one more frame, grey, RGB or RGBA."""
        try:
            self._add(image)
        except OSError as e:
            raise self._named(e) from e
        self.count += 1

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            if error is not None:
                raise error
            try:
                self._end()
                self.file.close()
            except OSError as e:
                raise self._named(e) from e

    def _named(self, e: OSError) -> OSError:
        return OSError(e.errno, e.strerror or str(e), str(self.path))

    def _close(self) -> None:
        """Close all that is open, also after an error."""
        with contextlib.suppress(OSError):
            self.file.close()

    def _begin(self) -> None:
        """Write what comes before the first frame."""

    def _add(self, image: Image.Image) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        """Write what comes after the last frame."""

    def _duration(self, units_per_s: int) -> int:
        """The duration of the current frame in whole units, rounded so that times do not drift."""
        end, start = ((self.count + i) * units_per_s / self.fps for i in (1, 0))
        return round(end) - round(start)
