# SPDX-License-Identifier: Apache-2.0
"""Sheets: how many columns, how large, what fills the empty cells, and what is written on them."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from support.pictures import picture

from stylegan.errors import UserError
from stylegan.imaging import Layout, can_write, columns_for, enlarged, grid, scale_of_frames

GREY = 140


@pytest.mark.parametrize(
    "count, columns",
    [(1, 1), (2, 2), (3, 3), (6, 3), (7, 4), (8, 4), (12, 4), (16, 4), (31, 8), (32, 8), (48, 8)],
)
def test_columns_fill_the_sheet(count, columns):
    assert columns_for(count) == columns


@pytest.mark.parametrize("picture_size", [(1, 1), (3, 2), (16, 48), (48, 16), (1, 50), (50, 1)])
def test_sheets_are_near_square_or_wider_and_almost_full(picture_size):
    width, height = picture_size
    for count in range(6, 400):
        columns = columns_for(count, picture_size)
        rows = -(-count // columns)
        if 1 / 4 < width / height < 4:
            assert 0.75 <= columns * width / (rows * height) <= 4
        assert rows * columns - count <= max(count // 6, 1)  # 14 of 15 cells or better
    assert 10**6 % columns_for(10**6) == 0


@pytest.mark.parametrize(
    "size, count, scale, cell",
    [
        ((16, 16), 4, 8, 128),
        ((32, 32), 4, 4, 128),
        ((48, 48), 4, 3, 144),
        ((64, 32), 4, 4, 256),  # the shorter side counts
        ((128, 128), 4, 1, 128),
        ((256, 256), 4, 1, 256),
        ((32, 32), 1024, 4, 128),  # 4096 px
        ((32, 32), 2500, 2, 64),
        ((32, 32), 90_000, 1, 32),
    ],
)
def test_auto_enlarges_until_one_sees_something(size, count, scale, cell):
    layout = Layout.of(count, size, scale="auto")
    assert (layout.scale, layout.picture[0]) == (scale, cell)
    assert layout.size == (layout.columns * cell, layout.rows * layout.picture[1])


@pytest.mark.parametrize(
    "size, scale",
    [
        ((16, 16), 16),
        ((32, 32), 8),
        ((320, 96), 3),
        ((960, 32), 4),
        ((256, 512), 1),
        ((1, 9999), 1),
    ],
)
def test_auto_for_videos(size, scale):
    assert scale_of_frames("auto", size) == scale


@pytest.mark.parametrize("scale", [0, -1, 1.5, "large", True, None])
def test_a_scale_that_is_none(scale):
    with pytest.raises(UserError, match=r"^scale: expected a whole number from 1 on, or auto"):
        grid([picture()], scale=scale)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("scale", [1, 3])
def test_each_pixel_becomes_a_square(mode, scale):
    images = [picture((6, 4), mode, seed=i) for i in range(3)]
    sheet = grid(images, 2, scale)
    assert sheet.mode == mode and sheet.size == (12 * scale, 8 * scale)
    for i, image in enumerate(images):
        x, y = i % 2 * 6 * scale, i // 2 * 4 * scale
        cell = np.asarray(sheet.crop((x, y, x + 6 * scale, y + 4 * scale)))
        assert (cell == np.asarray(image).repeat(scale, 0).repeat(scale, 1)).all()
        assert (np.asarray(enlarged(image, scale)) == cell).all()


@pytest.mark.parametrize(
    "mode, colour", [("L", GREY), ("RGB", (GREY,) * 3), ("RGBA", (0, 0, 0, 0))]
)
def test_no_empty_cell_is_black(mode, colour):
    """Grey fits light and dark pages; RGBA sheets are transparent there."""
    images = [picture((8, 8), mode, seed=i) for i in range(7)]
    last = grid(images).crop((24, 8, 32, 16))
    assert last.getcolors() == [(64, colour)]
    corner = grid([None, *images], 4).crop((0, 0, 8, 8))
    assert corner.getcolors() == [(64, colour)]


def inked(image):
    """Whether something black was written on grey."""
    grey = np.asarray(image.convert("L"))
    return (grey < 60).any() and (grey == GREY).mean() > 0.5


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_captions_are_below_the_pictures(mode):
    images = [Image.new(mode, (128, 128), "white") for _ in range(3)]
    sheet = grid(images, captions=["seed 1\nno. 2", "seed 2", ""])
    assert sheet.width == 3 * 128 and 128 + 20 < sheet.height < 128 + 60
    bands = [sheet.crop((128 * i, 128, 128 * i + 128, sheet.height)) for i in range(3)]
    assert [bool(inked(band)) for band in bands] == [True, True, False]
    if mode == "RGBA":  # the letters need the grey below them on any page
        assert all(band.getchannel("A").getextrema() == (255, 255) for band in bands)
    for i in range(3):
        assert sheet.crop((128 * i, 0, 128 * i + 128, 128)).convert("L").getextrema() == (255, 255)


def test_a_caption_fills_an_empty_cell():
    sheet = grid([None, picture((128, 128))], captions=["layers 0-3 of the columns", ""])
    assert sheet.size == (256, 128) and inked(sheet.crop((0, 0, 128, 128)))


@pytest.mark.parametrize("text", ["a very long name " * 9, "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwww"])
def test_long_captions_are_cut(text):
    """Nothing runs into the next cell."""
    sheet = grid([Image.new("L", (128, 64), 255)] * 2, 2, captions=[text, ""])
    assert inked(sheet.crop((0, 64, 128, sheet.height)))
    assert sheet.crop((128, 64, 256, sheet.height)).getcolors()[0][1] == GREY
    assert len(sheet.crop((128, 64, 256, sheet.height)).getcolors()) == 1


def test_any_seed_can_be_read_on_tiny_pictures():
    """The cells grow, so that no number is cut to another one."""
    from stylegan.imaging.captions import cut

    layout = Layout.of(2, (16, 16), scale=1, lines=1)
    assert cut("seed 4294967295", layout.cell[0] - layout.font_px // 2, layout.font_px) == (
        "seed 4294967295"
    )
    sheet = grid([picture((16, 16))] * 2, captions=["seed 4294967295"] * 2)
    assert sheet.width == 2 * layout.cell[0] > 100


@pytest.mark.parametrize(
    "text, can",
    [
        ("Food & Drink 3", True),
        ("école", True),  # written without the accent
        ("猫", False),
        ("Кот", False),
        ("🐈", False),
        ("a\tb", False),
        ("", True),
    ],
)
def test_scripts_that_the_font_lacks(text, can):
    assert can_write(text) == can
    boxes = np.asarray(grid([Image.new("L", (128, 9))], captions=[text]))
    marks = np.asarray(grid([Image.new("L", (128, 9))], captions=["?" * len(text)]))
    if not can and text != "a\tb":
        assert (boxes == marks).all()  # no boxes


@pytest.mark.parametrize(
    "images, captions, message",
    [
        ([], None, "images: expected at least one, got none"),
        ([None], None, "images: expected at least one, got none"),
        ([(8, 8), (9, 8)], None, "images: expected images of one size, got 8x8 and 9x8 px"),
        ([(8, 8)], ["a", "b"], "captions: expected 1, one for each image, got 2"),
    ],
)
def test_what_is_rejected(images, captions, message):
    with pytest.raises(UserError) as e:
        grid([size and picture(size) for size in images], captions=captions)
    assert str(e.value) == message


def test_pictures_need_no_pytorch():
    code = "import sys, stylegan.imaging; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
