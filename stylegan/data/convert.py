# SPDX-License-Identifier: Apache-2.0
"""Image files to files of one size and kind, in several processes. A file may kill its process."""

from __future__ import annotations

import hashlib
import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from stylegan.data import decode
from stylegan.data.pixels.encode import Encoded, Encoding, encode, kept
from stylegan.data.source import Source
from stylegan.data.transforms import TRANSFORMS
from stylegan.errors import UserError, reason_for
from stylegan.threads import cpu_count
from stylegan.words import pixels as px

CHUNK = 8  # images that a process gets at once
AHEAD = 4  # chunks per process that may wait, so that memory stays bounded


@dataclass(frozen=True)
class Converted:
    """A converted image."""

    file: Encoded
    digest: bytes  # of the pixels
    enlarged: bool  # whether it was smaller
    cut: bool  # whether it has values outside the range
    not_finite: bool  # whether it has values that are no numbers
    broken_profile: bool


@dataclass(frozen=True)
class Conversion:
    """How files become images of one size and kind.

    Call it with names of files; it returns a `Converted` for each, or why it cannot be used.
    """

    source: Source
    size: tuple[int, int]  # height, width in px
    transform: str | None  # a key of TRANSFORMS; None refuses images of another size
    channels: int
    value_range: tuple[float, float] | None  # black and white of images of more than 8 bits
    encoding: Encoding

    def __call__(self, names: list[str]) -> list[Converted | str]:
        return [self._convert(name) for name in names]

    def _convert(self, name: str) -> Converted | str:
        try:
            data = self.source.read(name)
            decoded = decode.read_image(data, name, self.value_range)
            image = decoded.image
            if self.transform is None and (image.height, image.width) != self.size:
                return f"{image.width}x{image.height} px, not {px(self.size)}"
            transform = TRANSFORMS[self.transform] if self.transform else None
            pixels = decode.to_pixels(image, self.channels, self.size, transform)
        except (UserError, ValueError, OSError, MemoryError) as e:
            return reason_for(e, name)
        file = None
        if self.encoding.format == "keep":
            file = kept(data, name, decoded.format, pixels)
        return Converted(
            file or encode(pixels, self.encoding),
            hashlib.blake2b(pixels.tobytes(), digest_size=16).digest(),
            image.width < self.size[1] or image.height < self.size[0],
            decoded.outside > 0,
            decoded.not_finite > 0,
            decoded.broken_profile,
        )


def convert_all(
    convert: Conversion, files: Iterable[str], workers: int | None
) -> Generator[Converted | str, None, None]:
    """The results of every file, in their order.

    Args:
        workers: processes; 0 works in this one. None: one per CPU.
    """
    workers = cpu_count() if workers is None else workers
    if not workers:
        yield from (convert([name])[0] for name in files)
        return
    chunks, pool = _chunks(files), _pool(workers)
    waiting: deque[tuple[list[str], Future[list[Converted | str]]]] = deque()
    try:
        while True:
            while len(waiting) < AHEAD * workers and (chunk := next(chunks, None)):
                waiting.append((chunk, pool.submit(convert, chunk)))
            if not waiting:
                return
            chunk, future = waiting.popleft()
            try:
                yield from future.result()
            except BrokenProcessPool:  # one process died, which ends the whole pool
                pool.shutdown(wait=False, cancel_futures=True)
                yield from (_convert_alone(convert, name) for name in chunk)
                pool = _pool(workers)
                waiting = deque((c, pool.submit(convert, c)) for c, _ in waiting)
    finally:
        # Python may print a traceback at its end if idle processes are still being ended then.
        pool.shutdown(wait=not waiting, cancel_futures=True)


def _convert_alone(convert: Conversion, name: str) -> Converted | str:
    """The result of one file in a process of its own, which it may kill."""
    with _pool(1) as pool:
        try:
            return pool.submit(convert, [name]).result()[0]
        except BrokenProcessPool:
            return "kills the process that reads it"


def _pool(workers: int) -> ProcessPoolExecutor:
    # Ctrl-C reaches all processes of a terminal; this one ends the others.
    return ProcessPoolExecutor(
        workers, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    )


def _chunks(files: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    for name in files:
        chunk.append(name)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
