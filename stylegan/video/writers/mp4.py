# SPDX-License-Identifier: Apache-2.0
"""MP4 files, by PyAV."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
from PIL import Image

from stylegan.imaging import on_checkerboard
from stylegan.video.writers.base import Writer

# Of x264, from 0 (lossless) to 51. At 12 the step from the last frame of a loop to the first is no
# larger than the others, even at 32 px.
CRF = 12


class Mp4(Writer):
    """H.264 in the pixel format that every player supports, 4:2:0. Frames of odd size are padded by
    a copy of the last row or column. Transparent frames are shown on a checkerboard."""

    max_side = 16384

    def _begin(self) -> None:
        import av

        self.container = av.open(self.file, "w", format="mp4")
        if self.metadata:
            self.container.metadata["comment"] = json.dumps(self.metadata)
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        options = {"crf": str(CRF)} if codec == "libx264" else {"q:v": "2"}
        stream: Any = self.container.add_stream(codec, rate=self.fps, options=options)
        self.stream = stream
        stream.width, stream.height = (n + n % 2 for n in self.size)
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context  # 1 is BT.709, the colour space that _add converts to
        context.colorspace = context.color_primaries = context.color_trc = 1
        context.color_range = 1  # 16 to 235

    def _add(self, image: Image.Image) -> None:
        import av

        width, height = self.size
        rgb = np.asarray(on_checkerboard(image).convert("RGB"))
        rgb = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        self.container.mux(self.stream.encode(frame))

    def _end(self) -> None:
        self.container.mux(self.stream.encode())
        self.container.close()

    def _close(self) -> None:
        if hasattr(self, "container"):
            with contextlib.suppress(Exception):  # PyAV has its own errors
                self.container.close()
        super()._close()
