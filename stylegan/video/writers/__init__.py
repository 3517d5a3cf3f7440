# SPDX-License-Identifier: Apache-2.0
"""Video files, written frame by frame: MP4 by PyAV, animated WebP and GIF of Pillow's images.

Nothing grows with the number of frames. For that the containers of WebP and GIF, a list of frames
with their durations, are written here: Pillow's own animations are collected in memory.

Source: RFC 9649 (WebP); GIF89a specification.
"""

import contextlib
import importlib.util
import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from stylegan.errors import UserError
from stylegan.files import whole_file
from stylegan.imaging import on_checkerboard

CRF = 12  # of x264, 0 to 51; where at 32 px, too, the seam of a loop is no step larger than others
WEBP_QUALITY = 90


class Writer:
    """A video file that appears whole, when the `with` ends well, or not at all.

    Args:
        path: where; the folder exists.
        size: (width, height) in px of every frame.
        fps: frames per second, a whole number.
        loop: WebP, GIF: play again and again.
    Raises: UserError if such a file cannot be written there; OSError later on, naming `path`.
    """

    largest = 0  # px a side
    max_fps = 1000

    def __init__(self, path, size, fps, loop=True):
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
    def check(cls, path, size, fps):
        """Raises: UserError if there are no such files."""
        kind = Path(path).suffix
        if max(size) > cls.largest:
            raise UserError(
                path, f"{kind} holds at most {cls.largest} px a side, not {size[0]}x{size[1]}"
            )
        if fps > cls.max_fps:
            raise UserError(path, f"{kind} shows at most {cls.max_fps} frames per second")

    def add(self, image):
        """One more frame: a PIL image, grey, RGB or RGBA."""
        try:
            self._add(image)
        except OSError as e:
            raise self._named(e) from e
        self.count += 1

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        with self._stack:
            if error is not None:
                raise error
            try:
                self._end()
                self.file.close()
            except OSError as e:
                raise self._named(e) from e

    def _named(self, e):
        return OSError(e.errno, e.strerror or str(e), str(self.path))

    def _close(self):
        """Close what is open, whatever has happened before."""
        with contextlib.suppress(OSError):
            self.file.close()

    def _begin(self):
        pass

    def _end(self):
        pass

    def _duration(self, unit):
        """Of the frame now, in whole units of which there are `unit` in a second: rounded so that
        the times do not drift."""
        return round((self.count + 1) * unit / self.fps) - round(self.count * unit / self.fps)


class Mp4(Writer):
    """H.264 in the pixel format that every player takes, 4:2:0; frames of an odd size get one more
    row or column, a copy of the last. Transparent frames lie on a checkerboard."""

    largest = 16384

    def _begin(self):
        import av

        self.container = av.open(self.file, "w", format="mp4")
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        options = {"crf": str(CRF)} if codec == "libx264" else {"q:v": "2"}
        self.stream = stream = self.container.add_stream(codec, rate=self.fps, options=options)
        stream.width, stream.height = (n + n % 2 for n in self.size)
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context  # 1 is BT.709, which is what is converted to below
        context.colorspace = context.color_primaries = context.color_trc = 1
        context.color_range = 1  # 16 to 235

    def _add(self, image):
        import av

        width, height = self.size
        rgb = np.asarray(on_checkerboard(image).convert("RGB"))
        rgb = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        self.container.mux(self.stream.encode(frame))

    def _end(self):
        self.container.mux(self.stream.encode())
        self.container.close()

    def _close(self):
        if hasattr(self, "container"):
            with contextlib.suppress(Exception):  # PyAV has errors of its own
                self.container.close()
        super()._close()


class WebP(Writer):
    """Animated WebP, with transparency: a RIFF file of one chunk per frame."""

    largest = 16383

    def _begin(self):
        self.file.write(b"RIFF" + bytes(4) + b"WEBP")
        # Flags: 2 animation, 16 transparency somewhere. Then background and number of plays.
        self._chunk(b"VP8X", struct.pack("<I", 2 | 16) + self._canvas())
        self._chunk(b"ANIM", struct.pack("<IH", 0, 0 if self.loop else 1))

    def _add(self, image):
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=WEBP_QUALITY)
        place = bytes(6) + self._canvas() + struct.pack("<I", self._duration(1000))[:3]
        replace = b"\2"  # what the frame before shows; a transparent one is not laid over it
        self._chunk(b"ANMF", place + replace + b"".join(_image_chunks(buffer.getvalue())))

    def _end(self):
        size = self.file.tell() - 8
        if size >= 2**32:
            raise OSError(None, "a WebP holds at most 4 GiB; .mp4 holds more")
        self.file.seek(4)
        self.file.write(struct.pack("<I", size))

    def _canvas(self):
        return b"".join(struct.pack("<I", n - 1)[:3] for n in self.size)

    def _chunk(self, name, data):
        self.file.write(name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2))


class Gif(Writer):
    """Animated GIF, each frame with the 256 colours that suit it best. Transparent frames lie on a
    checkerboard, since a pixel of a GIF is transparent or not."""

    largest = 65535
    max_fps = 50  # viewers show frames of less than 0.02 s for 0.1 s

    def _begin(self):
        # Screen without a common palette; then the extension that says how often it plays.
        self.file.write(b"GIF89a" + struct.pack("<HHBBB", *self.size, 0, 0, 0))
        if self.loop:
            self.file.write(b"!\xff\x0bNETSCAPE2.0\3\1" + struct.pack("<H", 0) + b"\0")

    def _add(self, image):
        buffer = io.BytesIO()
        image = on_checkerboard(image)
        image = image if image.mode == "L" else _with_palette(image)
        image.save(buffer, "GIF", interlace=0)
        palette, pixels = _parts_of_gif(buffer.getvalue())
        shown = struct.pack("<BBHBB", 4, 4, self._duration(100), 0, 0)  # stays till the next
        place = struct.pack("<HHHH", 0, 0, *self.size)
        bits = (len(palette) // 3).bit_length() - 1
        own_palette = struct.pack("<B", 0x80 | bits - 1)
        self.file.write(b"!\xf9" + shown + b"," + place + own_palette + palette + pixels)

    def _end(self):
        self.file.write(b";")


WRITERS = {".mp4": Mp4, ".webp": WebP, ".gif": Gif}


def writer_for(path):
    """The class that writes files named like `path`.

    Raises: UserError for another suffix, or if what it needs is not installed.
    """
    suffix = Path(path).suffix
    if suffix not in WRITERS:
        *some, last = WRITERS
        raise UserError(path, f"expected a name that ends in {', '.join(some)} or {last}")
    if suffix == ".mp4" and importlib.util.find_spec("av") is None:
        raise UserError(
            path, ".mp4 needs PyAV, pip install 'stylegan[video]'; .webp and .gif do not"
        )
    return WRITERS[suffix]


def _with_palette(image):
    """An RGB image in 256 colours of its own; all of them where there are no more."""
    if image.getcolors(256):
        return image.quantize(256)
    # Dithered, the octree's colours come closer than a median cut's, in a tenth of the time.
    colors = image.quantize(256, method=Image.Quantize.FASTOCTREE)
    return image.quantize(palette=colors, dither=Image.Dither.FLOYDSTEINBERG)


def _image_chunks(data):
    """The chunks of a still WebP that hold its pixels, headers included."""
    at = 12
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        if data[at : at + 4] in (b"ALPH", b"VP8 ", b"VP8L"):
            yield data[at:end]
        at = end


def _parts_of_gif(data):
    """(palette, compressed pixels) of a still GIF with one palette and one image."""
    at = 13 + 3 * (2 << (data[10] & 7))
    palette = data[13:at]
    while data[at : at + 1] == b"!":  # extensions: a label, then blocks up to an empty one
        at += 2
        while data[at]:
            at += data[at] + 1
        at += 1
    if data[9 + at] & 0x80:
        raise ValueError("a palette of the image's own is not expected")
    return palette, data[at + 10 : -1]
