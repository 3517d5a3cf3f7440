# SPDX-License-Identifier: Apache-2.0
"""The contact sheet of a data set shows every class."""

import numpy as np
import pytest
from PIL import Image
from support.pictures import encoded, picture

from stylegan.data.check import Check
from stylegan.data.contact import CELL, contact_sheet, picks_of, spread
from stylegan.data.labels import Labels
from stylegan.data.source import open_source


def labels_of(counts):
    values = np.repeat(np.arange(len(counts)), counts)
    names = tuple(f"c{i}" for i in range(len(counts)))
    return [f"{i}.png" for i in range(len(values))], Labels(values, len(counts), names)


@pytest.mark.parametrize(
    "counts, columns, rows",
    [
        ([300, 1], 12, 5),  # the small class has a row of its own
        ([50] * 8, 12, 8),
        ([50] * 24, 12, 24),
        ([2, 3, 1], 3, 3),
        ([50] * 25, 12, 9),  # three classes a row
        ([50] * 96, 12, 32),
        ([50] * 97, 14, 7),
        ([1] * 4, 2, 2),
        ([500], 12, 8),
    ],
)
def test_every_class_is_on_the_sheet(counts, columns, rows):
    images, labels = labels_of(counts)
    picks = picks_of(images, labels, labels.names)
    assert (picks.columns, -(-len(picks.names) // picks.columns)) == (columns, rows)
    assert picks.classes == picks.total == len(counts)
    shown = {labels.values[images.index(n)] for n in picks.names if n}
    assert shown == {*range(len(counts))}
    assert [c for c in picks.captions if c] == list(labels.names)
    assert len([n for n in picks.names if n]) == len({n for n in picks.names if n})
    if len(counts) < 97 and max(counts) > 1:  # a row never goes on with another class
        group = columns if len(counts) < 25 else columns // 3
        for i in range(0, len(picks.names), group):
            part = {labels.values[images.index(n)] for n in picks.names[i : i + group] if n}
            assert len(part) == 1


def test_very_many_classes_are_counted():
    images, labels = labels_of([2] * 3000)
    picks = picks_of(images, labels, labels.names)
    assert (picks.classes, picks.total, len(picks.names)) == (1024, 3000, 1024)


def test_classes_without_images_and_broken_files_are_left_out():
    images, labels = labels_of([2, 0, 3])
    picks = picks_of(images, labels, labels.names, {"0.png", "1.png"})
    assert [n for n in picks.names if n] == ["2.png", "3.png", "4.png"] and picks.total == 1
    assert picks_of(images, labels, labels.names, {*images}).names == []
    assert picks_of(images, None, (), {"0.png"}).names == images[1:]


def test_without_classes_the_images_are_evenly_spaced():
    images = [f"a/{i}.png" for i in range(1000)]
    picks = picks_of(images, None, ())
    assert (len(picks.names), picks.columns) == (96, 12) and picks.captions[0] == "0.png"
    assert spread([*range(10)], 5) == [0, 2, 4, 6, 8] and spread([1, 2], 5) == [1, 2]


@pytest.mark.parametrize(
    "size, shown",
    [((16, 16), (128, 128)), ((40, 20), (120, 60)), ((500, 250), (128, 64)), ((1, 900), (1, 128))],
)
def test_small_images_are_enlarged_and_large_ones_reduced(tmp_path, size, shown):
    (tmp_path / "a.png").write_bytes(encoded(Image.new("RGB", size, "red")))
    source = open_source(tmp_path)
    sheet = contact_sheet(Check(source, None), picks_of(source.names, None, ())).image
    assert sheet.size == (CELL, CELL) and sheet.mode == "RGB"
    colours = {colour: count for count, colour in sheet.getcolors()}
    assert colours.pop((255, 0, 0)) == shown[0] * shown[1]
    assert not colours or list(colours) == [(140, 140, 140)]


def test_transparent_pixels_are_on_a_checkerboard(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(Image.new("RGBA", (64, 32))))
    source = open_source(tmp_path)
    picks = picks_of(source.names, None, ())
    sheet = contact_sheet(Check(source, None), picks, captions=True).image
    assert sheet.width == CELL and sheet.height > CELL
    picture_part = {colour for _, colour in sheet.crop((0, 32, 128, 96)).getcolors()}
    assert picture_part == {(204,) * 3, (255,) * 3}


def test_a_file_that_breaks_in_the_meantime_leaves_its_place_empty(tmp_path):
    for i in range(2):
        (tmp_path / f"{i}.png").write_bytes(encoded(picture((16, 16), seed=i)))
    source = open_source(tmp_path)
    picks = picks_of(source.names, None, ())
    (tmp_path / "0.png").write_bytes(b"")
    done = contact_sheet(Check(source, None), picks)
    assert [str(f) for f in done.failures] == ["0.png: empty file"]
    assert done.image.size == (2 * CELL, CELL)
    assert done.image.crop((0, 0, CELL, CELL)).getcolors() == [(CELL * CELL, (140,) * 3)]
    (tmp_path / "1.png").write_bytes(b"")
    assert contact_sheet(Check(source, None), picks).image is None
