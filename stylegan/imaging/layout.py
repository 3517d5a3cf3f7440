# SPDX-License-Identifier: Apache-2.0
"""Where the pictures of a sheet are: columns, rows, and how much they are enlarged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from stylegan.errors import UserError
from stylegan.words import ceil_div

Scale = int | Literal["auto"]

MIN_PICTURE = 128  # px of the shorter side of a picture on a sheet, to which auto enlarges
MIN_FRAME = 256  # px of the shorter side of a video
MAX_SIDE = 4096  # px, beyond which auto does not enlarge
MIN_CELL = 96  # px, the width of a picture with a caption, which holds any seed
FLATTEST, TALLEST = 4.0, 0.75  # width / height of a sheet
NICEST = 1.4  # what it is close to if several numbers of columns fill it


@dataclass(frozen=True)
class Layout:
    """The places of pictures of one size, in rows."""

    count: int
    columns: int
    rows: int
    scale: int  # each pixel becomes scale x scale
    picture: tuple[int, int]  # (width, height) in px of an enlarged picture
    lines: int = 0  # of the caption below each picture

    @classmethod
    def of(
        cls,
        count: int,
        picture: tuple[int, int],
        columns: int | None = None,
        scale: Scale = 1,
        lines: int = 0,
    ) -> Layout:
        """The layout of a sheet.

        Args:
            count: pictures.
            picture: (width, height) of each in px.
            columns: of the sheet; None: see `columns_for`.
            scale: a whole number, or auto: the smallest that makes the shorter side of a picture
                128 px or more, as long as the sheet has at most 4096 px a side.
            lines: of each caption.
        Raises: UserError for a scale that is neither.
        """
        width, height = picture
        columns = min(columns or columns_for(count, picture), count)
        rows = ceil_div(count, columns)
        factor = _scale(scale, min(picture), MIN_PICTURE, max(columns * width, rows * height))
        enlarged = width * factor, height * factor
        return cls(count, columns, rows, factor, enlarged, lines)

    @property
    def font_px(self) -> int:
        """The size of the letters of captions."""
        return min(max(self.cell[0] // 9, 10), 24)

    @property
    def line_px(self) -> int:
        """The height of a line of a caption."""
        return ceil_div(5 * self.font_px, 4)

    @property
    def band_px(self) -> int:
        """The height of the captions below a row of pictures."""
        return self.lines * self.line_px + (self.font_px // 2 if self.lines else 0)

    @property
    def cell(self) -> tuple[int, int]:
        """(width, height) in px of a picture and its place, without the caption."""
        width, height = self.picture
        return max(width, MIN_CELL if self.lines else 0), height

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the sheet in px."""
        width, height = self.cell
        return self.columns * width, self.rows * (height + self.band_px)

    def corner(self, i: int) -> tuple[int, int]:
        """(x, y) in px of the upper left corner of cell number i."""
        width, height = self.cell
        return i % self.columns * width, i // self.columns * (height + self.band_px)


def columns_for(count: int, picture: tuple[int, int] = (1, 1)) -> int:
    """Columns that leave the fewest empty cells on a sheet that is near-square or wider.

    Args:
        count: pictures.
        picture: (width, height) of each.
    Returns: 8 for 32 square pictures, 4 for 7.
    """

    def shape(columns: int) -> float:
        return columns * picture[0] / (ceil_div(count, columns) * picture[1])

    def far(columns: int) -> float:
        return abs(math.log(shape(columns) / NICEST))

    # Near the square root, so that a million pictures take no longer.
    middle = math.sqrt(count * picture[1] / picture[0])
    tried = range(max(int(middle / 2), 1), min(int(middle * 2.5) + 2, count) + 1)
    fits = [c for c in tried if TALLEST <= shape(c) <= FLATTEST]
    if not fits:
        return min(tried, key=far, default=max(count, 1))
    return min(fits, key=lambda c: (-count % c, far(c)))


def scale_of_frames(scale: Scale, size: tuple[int, int]) -> int:
    """How much the frames of a video are enlarged.

    Args:
        scale: a whole number, or auto: the smallest that makes the shorter side 256 px or more, as
            long as the longer one has at most 4096 px.
        size: (width, height) of a frame in px.
    Raises: UserError for a scale that is neither.
    """
    return _scale(scale, min(size), MIN_FRAME, max(size))


def _scale(scale: Scale, side: int, wanted: int, longest: int) -> int:
    if scale == "auto":
        return max(min(ceil_div(wanted, side), MAX_SIDE // longest), 1)
    if isinstance(scale, bool) or not isinstance(scale, int) or scale < 1:
        raise UserError("scale", f"expected a whole number from 1 on, or auto, got {scale!r}")
    return scale
