# SPDX-License-Identifier: Apache-2.0
"""Sheets: images of one size in rows, enlarged, with captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from stylegan.errors import UserError
from stylegan.imaging.captions import cut, wrapped, writable, write
from stylegan.imaging.layout import Layout, Scale

# A grey that fits light and dark pages, and on which black letters can be read.
BACKGROUND: dict[str, Any] = {"L": 140, "RGB": (140,) * 3, "RGBA": (0,) * 4}
BAND: dict[str, Any] = {"L": 140, "RGB": (140,) * 3, "RGBA": (140, 140, 140, 255)}
INK: dict[str, Any] = {"L": 0, "RGB": (0,) * 3, "RGBA": (0, 0, 0, 255)}


def enlarged(image: Image.Image, scale: int) -> Image.Image:
    """An image whose pixels are squares of `scale` px: crisp, and nothing is made up."""
    if scale == 1:
        return image
    size = image.width * scale, image.height * scale
    return image.resize(size, Image.Resampling.NEAREST)


def grid(
    images: Sequence[Image.Image | None],
    columns: int | None = None,
    scale: Scale = 1,
    captions: Sequence[str] | None = None,
) -> Image.Image:
    """One image of images of the same size, in rows.

    Args:
        images: grey, RGB or RGBA; None for an empty cell. Empty cells are grey, or transparent on
            a sheet of RGBA images.
        columns: None: as many as leave the fewest cells empty (`columns_for`).
        scale: a whole number by which pictures are enlarged, or "auto": until the shorter side of
            each has 128 px or more, as long as the sheet has at most 4096 px a side.
        captions: a text for each image, which is written below it. Lines that are too long are cut.
            A text for an empty cell fills the cell.
    Returns: an image of the mode of the first.
    Raises: UserError if there are no images, or they differ in size, or the captions differ in
        number.
    """
    shown = [image for image in images if image is not None]
    if not shown:
        raise UserError("images", "expected at least one, got none")
    size, mode = shown[0].size, shown[0].mode
    other = next((image.size for image in shown if image.size != size), None)
    if other:
        (a, b), (c, d) = size, other
        raise UserError("images", f"expected images of one size, got {a}x{b} and {c}x{d} px")
    if captions is not None and len(captions) != len(images):
        raise UserError(
            "captions", f"expected {len(images)}, one for each image, got {len(captions)}"
        )
    if mode not in BACKGROUND:
        mode = "RGBA" if shown[0].has_transparency_data else "RGB"
    texts = [writable(text) for text in captions or ()]
    below = [text for text, image in zip(texts, images) if image is not None]
    lines = max((text.count("\n") + 1 for text in below if text), default=0)
    layout = Layout.of(len(images), size, columns, scale, lines)
    sheet = Image.new(mode, layout.size, BACKGROUND[mode])
    for i, image in enumerate(images):
        x, y = layout.corner(i)
        if image is not None:
            place = x + (layout.cell[0] - layout.picture[0]) // 2, y
            sheet.paste(enlarged(image, layout.scale), place)
        if lines:
            band = (x, y + layout.cell[1], x + layout.cell[0], y + layout.cell[1] + layout.band_px)
            sheet.paste(BAND[mode], band)
        if texts:
            _caption(sheet, texts[i], layout, (x, y), image is None)
    return sheet


def _caption(
    sheet: Image.Image, text: str, layout: Layout, corner: tuple[int, int], inside: bool
) -> None:
    """Write a caption below a picture, or inside of an empty cell."""
    (x, y), (width, height) = corner, layout.cell
    size, line_px = layout.font_px, layout.line_px
    room = width - size // 2
    if inside:
        lines = [*wrapped(text, room, size)][: max((height + layout.band_px) // line_px, 1)]
        top = y + (height + layout.band_px - len(lines) * line_px) // 2
        if text:
            box = (x, y, x + width, y + height + layout.band_px)
            sheet.paste(BAND[sheet.mode], box)
    else:
        lines = [cut(line, room, size) for line in text.split("\n")]
        top = y + height + size // 4
    write(sheet, lines, x + width // 2, top, size, line_px, INK[sheet.mode])
