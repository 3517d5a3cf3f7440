# SPDX-License-Identifier: Apache-2.0
"""Sheets of sample images, small enough to embed in a page."""

from __future__ import annotations

import base64
import functools
import io
import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from stylegan.imaging import on_checkerboard
from stylegan.runs.history import REALS, SAMPLES
from stylegan.words import ceil_div

SHEETS = 24  # steps of the slider
MAX_WIDTH = 1280  # px, more than a page shows of a sheet
MAX_BYTES = 160 << 10  # of a sheet, so that all of them are about 5 MB in base64
# (width, JPEG quality) to try until a sheet fits: fine detail costs most and shows least.
STEPS = ((MAX_WIDTH, 90), (MAX_WIDTH, 80), (MAX_WIDTH, 70), (960, 75), (960, 60), (640, 70))


@dataclass(frozen=True)
class Sheet:
    """A picture for a page."""

    kimg: float
    width: int
    height: int
    url: str  # data:
    columns: int = 0  # of images, the first of which is seed 0; 0 if the file does not say
    rows: int = 0
    classes: tuple[str, ...] = ()  # of the rows; empty without classes


def sheets_of(folder: Path) -> tuple[list[Sheet], Sheet | None]:
    """(sheets over time, the sheet of real images or None), without damaged ones.

    At most `SHEETS` of them, evenly spaced, with the first and the last.
    """
    found = sorted(
        (float(m[1]), path)
        for path in (folder / SAMPLES).glob("*.png")
        if (m := re.fullmatch(r"(\d+(?:\.\d+)?)\.png", path.name))
    )
    n = min(len(found), SHEETS)
    picks = [found[i * (len(found) - 1) // max(n - 1, 1)] for i in range(n)]
    sheets = [_read(path, kimg) for kimg, path in picks]
    return [s for s in sheets if s], _read(folder / SAMPLES / REALS, 0.0)


def _read(path: Path, kimg: float) -> Sheet | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return _sheet(path, kimg, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(4 * SHEETS)
def _sheet(path: Path, kimg: float, mtime_ns: int, size: int) -> Sheet | None:
    """The sheet in a file as it was at that time. It is cached because a run writes a report with
    every snapshot."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large sheets
            with Image.open(path, formats=["PNG"]) as file:
                image, layout = _flat(file), _layout(file.text)
                image = image.reduce(_scale(file.text, image.size))  # a browser enlarges it again
        data, (width, height) = _encoded(image)
    except Exception:  # a damaged file makes Pillow raise almost anything
        return None
    url = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
    return Sheet(kimg, width, height, url, *layout)


def _layout(text: dict[str, str]) -> tuple[int, int, tuple[str, ...]]:
    """(columns, rows, classes of the rows) of the text in a sheet's PNG; (0, 0, ()) if it is not
    that of `Samples`."""
    seeds = re.fullmatch(r"0-(\d{1,6})", text.get("seeds", ""))
    columns = re.fullmatch(r"[1-9]\d{0,3}", text.get("columns", ""))
    if not seeds or not columns:
        return 0, 0, ()
    rows = ceil_div(int(seeds[1]) + 1, int(columns[0]))
    try:
        classes = json.loads(text.get("classes", "[]"))
    except (ValueError, RecursionError):
        classes = []
    fits = isinstance(classes, list) and len(classes) == rows
    return int(columns[0]), rows, tuple(map(str, classes)) if fits else ()


def _scale(text: dict[str, str], size: tuple[int, int]) -> int:
    """How much the images of a sheet were enlarged, by the text in its PNG."""
    found = re.fullmatch(r"[1-9]\d{0,2}", text.get("scale", ""))
    scale = int(found[0]) if found else 1
    return scale if not any(side % scale for side in size) else 1


def _flat(image: Image.Image) -> Image.Image:
    """Grey or RGB; transparent pixels over a checkerboard."""
    if "A" in image.getbands() or "transparency" in image.info:
        return on_checkerboard(image.convert("RGBA"))
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _encoded(image: Image.Image) -> tuple[bytes, tuple[int, int]]:
    """(JPEG, its size in px)."""
    for width, quality in STEPS:
        if width < image.width:
            image = image.resize(
                (width, max(round(image.height * width / image.width), 1)), Image.Resampling.LANCZOS
            )
        buffer = io.BytesIO()
        # Colour at full resolution, because the images of a sheet may have 32 px.
        image.save(buffer, "JPEG", quality=quality, subsampling=0)
        if buffer.tell() <= MAX_BYTES:
            break
    return buffer.getvalue(), image.size
