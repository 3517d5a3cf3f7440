# SPDX-License-Identifier: Apache-2.0
"""Images of more than 8 bits: their values, and the one rule of a data set for them."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from support.deep_images import encoded_deep, png16, tiff
from support.pictures import encoded, picture

from stylegan import UserError
from stylegan.data import decode, preparation
from stylegan.data.dataset import ImageDataset
from stylegan.data.pixels import deep
from stylegan.data.pixels.ranges import choose
from stylegan.data.survey import deep_images


def noise(highest, shape=(8, 8), dtype=np.uint16, lowest=0, seed=0):
    """Random values that include both ends."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(lowest, highest, shape) if dtype == np.float32 else None
    values = rng.integers(lowest, highest, shape) if values is None else values
    values.flat[0], values.flat[1] = lowest, highest
    return values.astype(dtype)


def scaled(values, low, high):
    """What a reader has to make of them."""
    unit = (np.clip(np.asarray(values, np.float64), low, high) - low) / (high - low)
    return 255 * unit


@pytest.mark.parametrize(
    "lowest, highest, fractions, pair",
    [
        (0, 4095, False, (0, 4095)),
        (3, 4090, False, (0, 4095)),
        (0, 4096, False, (0, 16383)),
        (0, 1000, False, (0, 1023)),
        (0, 200, False, (0, 255)),
        (0, 1, False, (0, 1)),
        (0, 0, False, (0, 65535)),
        (9, 65535, False, (0, 65535)),
        (0, 70000, False, (0, 2**24 - 1)),
        (0, 2**31, False, (0, 2**32 - 1)),
        (-1024, 3071, False, (-1100, 3100)),  # Hounsfield units
        (-5, 5, False, (-5, 5)),
        (-32768, 32767, False, (-33000, 33000)),
        (0, 1, True, (0, 1)),
        (0.2, 0.4, True, (0, 1)),
        (-0.03, 1.04, True, (0, 1)),  # a filter that overshoots
        (-1, 0.9, True, (-1, 1)),
        (0, 255, True, (0, 255)),
        (0, 260, True, (0, 255)),
        (0, 4095, True, (0, 4095)),
        (0, 65535, True, (0, 65535)),
        (0, 37.2, True, (0, 38)),
        (0, 1.7, True, (0, 1.7)),
        (273.15, 310.5, True, (273, 311)),
        (-40, 50, True, (-40, 50)),
        (5, 5, True, (5, 5.1)),
        (1e-9, 1e30, True, (0, 1e30)),
    ],
)
def test_the_range_that_is_chosen(lowest, highest, fractions, pair):
    chosen = choose([deep.Extent(lowest, highest, highest, fractions, True)])
    assert chosen.pair == pytest.approx(pair) and "--range" in str(chosen)


KINDS = {
    "PNG of 12 bits": (noise(4095), encoded_deep, (0, 4095)),
    "PNG of 16 bits": (noise(65535), encoded_deep, (0, 65535)),
    "TIFF of 12 bits": (noise(4095), tiff, (0, 4095)),
    "TIFF, big endian": (noise(4095), lambda v: tiff(v, ">"), (0, 4095)),
    "TIFF, compressed": (noise(4095), lambda v: tiff(v, compression=8), (0, 4095)),
    "signed": (noise(3000, dtype=np.int16, lowest=-1000), tiff, (-1000, 3000)),
    "signed, big endian": (
        noise(3000, dtype=np.int16, lowest=-1000),
        lambda v: tiff(v, ">"),
        (-1000, 3000),
    ),
    "int32": (noise(100_000, dtype=np.int32), tiff, (0, 2**24 - 1)),
    "uint32": (noise(2**32 - 1, dtype=np.uint32), tiff, (0, 2**32 - 1)),
    "float 0 to 1": (noise(1, dtype=np.float32), tiff, (0, 1)),
    "float, big endian": (noise(1, dtype=np.float32), lambda v: tiff(v, ">"), (0, 1)),
    "float -1 to 1": (noise(1, dtype=np.float32, lowest=-1), tiff, (-1, 1)),
    "float 0 to 255": (noise(255, dtype=np.float32), tiff, (0, 255)),
    "RGB PNG of 12 bits": (noise(4095, (8, 8, 3)), png16, (0, 4095)),
    "RGB PNG of 16 bits": (noise(65535, (8, 8, 3)), png16, (0, 65535)),
    "RGB TIFF of 12 bits": (noise(4095, (8, 8, 3)), tiff, (0, 4095)),
    "RGB TIFF, big endian": (noise(4095, (8, 8, 3)), lambda v: tiff(v, ">"), (0, 4095)),
    "RGB TIFF, compressed": (
        noise(4095, (8, 8, 3)),
        lambda v: tiff(v, compression=8),
        (0, 4095),
    ),
    "RGB TIFF in strips": (noise(4095, (8, 8, 3)), lambda v: tiff(v, strips=3), (0, 4095)),
    "RGB TIFF in strips, compressed": (
        noise(4095, (8, 8, 3)),
        lambda v: tiff(v, strips=3, compression=8),
        (0, 4095),
    ),
    "RGB TIFF in planes": (noise(65535, (8, 8, 3)), lambda v: tiff(v, planes=True), (0, 65535)),
    "RGB TIFF in planes and strips, big endian": (
        noise(4095, (8, 8, 3)),
        lambda v: tiff(v, ">", strips=3, planes=True),
        (0, 4095),
    ),
    "TIFF in strips": (noise(4095), lambda v: tiff(v, strips=3), (0, 4095)),
    "8 bits in 16": (noise(255), encoded_deep, (0, 255)),
    "a mask in 16 bits": (noise(1), encoded_deep, (0, 1)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_one_rule_for_the_set(store, tmp_path, kind):
    """The same pixels from training, from `stylegan dataset` and from loader processes; the second
    image is darker, and stays darker."""
    values, write, pair = KINDS[kind]
    dark = (values * 0.25).astype(values.dtype)
    source = store({"a.image.tif": write(values), "b.image.tif": write(dark)})
    data = ImageDataset(source)
    assert data.value_range == pair and data.channels == (3 if values.ndim == 3 else 1)
    for i, v in enumerate((values, dark)):
        expected = scaled(v, *pair).reshape(8, 8, -1).transpose(2, 0, 1)
        assert np.abs(data.pixels(i) - expected).max() < 0.51
    assert (data.pixels(0) != data.pixels(1)).any()
    done = preparation.prepare(source, tmp_path / "out.zip", workers=0)
    assert done.made.value_range == pair and done.kept == 0
    made = ImageDataset(tmp_path / "out.zip")
    assert made.deep is None and made.value_range is None
    for i in range(2):
        assert np.array_equal(made.pixels(i), data.pixels(i))


def test_alpha_of_16_bits(store):
    grey, rgb = noise(4095, (8, 8, 2)), noise(4095, (8, 8, 4))
    grey[:, :, 1], rgb[:, :, 3] = 65535, np.linspace(0, 65535, 64).reshape(8, 8)
    data = ImageDataset(store({"grey.png": png16(grey), "rgb.png": png16(rgb)}), channels=4)
    assert data.value_range == (0, 4095)
    assert [decode.look(png16(v), "x").channels for v in (grey, rgb)] == [1, 4]
    visible = data.pixels(1)[3] > 0
    for i, values in enumerate((grey[:, :, [0, 0, 0, 1]], rgb)):
        expected = scaled(values, 0, 4095).transpose(2, 0, 1)
        expected[3] = values[:, :, 3] / 257
        expected = expected * (visible if i else 1)
        assert np.abs(data.pixels(i) - expected).max() < 0.51


@pytest.mark.parametrize("options", [{}, {"strips": 3}, {"planes": True}, {"compression": 8}])
@pytest.mark.parametrize("order", "<>")
def test_alpha_of_16_bits_in_tiff(store, options, order):
    values = noise(4095, (8, 8, 4))
    values[:, :, 3] = np.linspace(1000, 65535, 64).reshape(8, 8)
    data = ImageDataset(store({"a.tif": tiff(values, order, **options)}), channels=4)
    expected = scaled(values, 0, 4095).transpose(2, 0, 1)
    expected[3] = values[:, :, 3] / 257
    assert data.value_range == (0, 4095) and np.abs(data.pixels(0) - expected).max() < 0.51


@pytest.mark.parametrize("planes", [False, True])
def test_tiff_of_8_bits(store, planes):
    values = noise(255, (8, 8, 3)).astype(np.uint8)
    data = ImageDataset(store({"a.tif": tiff(values, planes=planes, strips=2)}))
    assert data.deep is None and np.array_equal(data.pixels(0), values.transpose(2, 0, 1))


def test_the_lowest_value_is_white(store):
    """As X-ray images are stored."""
    values = noise(4095)
    data = ImageDataset(store({"a.tif": tiff(values, photometric=0)}))
    assert np.abs(data.pixels(0)[0] - (255 - scaled(values, 0, 4095))).max() < 0.51


def test_deep_rgb_is_turned_too(store):
    values = noise(4095, (4, 6, 3))
    file = bytearray(png16(values))
    exif = Image.Exif()
    exif[0x0112] = 6
    from support.deep_images import png_chunk

    file[33:33] = png_chunk(b"eXIf", exif.tobytes()[6:])
    data = ImageDataset(store({"a.png": bytes(file)}))
    expected = np.rot90(scaled(values, 0, 4095), -1).transpose(2, 0, 1)
    assert data.resolution == (6, 4) and np.abs(data.pixels(0) - expected).max() < 0.51


def test_numbers_that_are_none(store, tmp_path):
    values = noise(1, dtype=np.float32)
    values[2, :4] = np.nan, np.inf, -np.inf, 7
    source = store({"a.tif": tiff(values), "b.tif": tiff(noise(1, dtype=np.float32))})
    data = ImageDataset(source, value_range=(0, 1))
    assert data.pixels(0)[0, 2, :4].tolist() == [0, 255, 0, 255]
    assert data.notes == [
        "1 image has values that are no numbers; NaN becomes black",
        "1 image has values outside 0 to 1, which are cut",
    ]
    done = preparation.prepare(source, tmp_path / "out", value_range=(0, 1), workers=0)
    assert (done.cut, done.not_finite) == (1, 1)


def test_only_nan(store):
    values = np.full((8, 8), np.nan, np.float32)
    data = ImageDataset(store({"a.tif": tiff(values), "b.tif": tiff(noise(1, dtype=np.float32))}))
    assert not data.pixels(0).any()


def test_the_order_of_files_does_not_matter(tmp_path):
    files = [tiff(noise(2**bits - 1)) for bits in (8, 12, 9, 10, 11)]
    found = set()
    for i in range(4):
        random.Random(i).shuffle(files)
        folder = tmp_path / str(i)
        folder.mkdir()
        for k, file in enumerate(files):
            (folder / f"{k}.tif").write_bytes(file)
        found.add(ImageDataset(folder).value_range)
        assert ImageDataset(folder, max_images=1, seed=i).value_range == (0, 4095)
    assert found == {(0, 4095)}


def test_a_range_that_is_given(store, tmp_path):
    values = noise(4095)
    source = store({"a.png": encoded_deep(values)})
    data = ImageDataset(source, value_range=(1000, 2000))
    assert np.abs(data.pixels(0)[0] - scaled(values, 1000, 2000)).max() < 0.51
    assert data.notes == ["1 image has values outside 1000 to 2000, which are cut"]
    assert data.take_cut() == "by now, 1 image has values outside 1000 to 2000, which are cut"
    assert data.take_cut() is None
    done = preparation.prepare(source, tmp_path / "out", value_range=(1000, 2000), workers=0)
    assert done.cut == 1 and done.changes[0] == data.notes[0]
    assert np.array_equal(ImageDataset(tmp_path / "out").pixels(0), data.pixels(0))


def test_images_of_8_bits_have_no_range(store):
    source = store({"a.png": encoded(picture()), "b.png": encoded(picture(mode="P"))})
    data = ImageDataset(source)
    assert data.deep is None and data.value_range is None and data.notes == []
    notes = ImageDataset(source, value_range=(0, 4095)).notes
    assert notes == ["--range has no effect: the images looked at have 8 bits"]


def test_8_bits_among_16_stay(store):
    image = picture(mode="L")
    data = ImageDataset(store({"a.png": encoded_deep(noise(4095)), "b.png": encoded(image)}))
    assert data.value_range == (0, 4095)
    assert np.array_equal(data.pixels(1)[0], np.asarray(image))


@pytest.mark.parametrize("mode, levels", [("1", 2), ("P", 16)])
def test_few_levels(store, mode, levels):
    """1 bit is black and white; a palette of 16 colours is what its entries say."""
    grey = Image.fromarray(np.uint8(np.arange(64).reshape(8, 8) * 4))
    image = grey.convert("1") if mode == "1" else grey.convert("RGB").quantize(16)
    data = ImageDataset(store({"a.png": encoded(image)}), channels=1)
    expected = np.asarray(image.convert("L"))
    assert np.array_equal(data.pixels(0)[0], expected) and len(np.unique(expected)) == levels


def test_whole_numbers_and_floats(store):
    files = {"a.tif": tiff(noise(4095)), "b.tif": tiff(noise(1, dtype=np.float32))}
    source = store(files)
    with pytest.raises(UserError, match="a.tif has whole numbers of 0 to 4095, but b.tif has flo"):
        ImageDataset(source)
    assert ImageDataset(source, value_range=(0, 4095)).value_range == (0, 4095)


def test_whole_numbers_and_floats_that_agree(store):
    files = {"a.tif": tiff(noise(255)), "b.tif": tiff(noise(255, dtype=np.float32))}
    assert ImageDataset(store(files)).value_range == (0, 255)


def test_one_bright_value_is_told(store):
    values = noise(900, (64, 64))
    values[5, 5] = 65535
    data = ImageDataset(store({"a.png": encoded_deep(values)}))
    assert data.value_range == (0, 65535)
    assert len(data.notes) == 1 and "will be dark" in data.notes[0]
    assert "--range 0,899 makes them brighter" in data.notes[0]


def test_a_deep_image_that_was_not_looked_at(store, tmp_path):
    """It is left out and named, instead of read by a rule of its own."""
    files = {f"{i:03}.png": encoded(picture(mode="L", seed=i)) for i in range(200)}
    source = store({**files, "001.png": encoded_deep(noise(4095))})
    why = "more than 8 bits, unlike the images looked at; give --range"
    data = ImageDataset(source)
    data[1]
    assert [str(p) for p in data.take_skipped()] == [f"001.png: {why}"]
    done = preparation.prepare(source, tmp_path / "out", workers=0)
    assert [str(p) for p in done.failures] == [f"001.png: {why}"] and done.written == 199
    assert ImageDataset(source, value_range=(0, 4095)).pixels(1).max() == 255


def test_one_image_alone():
    """Without a data set, the rule is that of the image."""
    values = noise(4095)
    image = decode.open_image(encoded_deep(values), "x")
    assert np.abs(decode.to_pixels(image, 1)[0] - scaled(values, 0, 4095)).max() < 0.51


def test_tiff_that_pillow_cannot_read(store):
    files = {"a.tif": tiff(noise(1).astype(np.float64)), "b.tif": tiff(noise(4095))}
    data = ImageDataset(store(files))
    data[0]
    (problem,) = data.take_skipped()
    assert problem.why.startswith("a kind of TIFF that Pillow cannot read")


@pytest.mark.parametrize("kind, readable", [(0, True), (1, False), (2, True)])
def test_a_fourth_value_in_tiff(store, kind, readable):
    """Of no meaning, premultiplied alpha, alpha."""
    values = noise(4095, (8, 8, 4))
    values[:, :, 3] = 65535
    source = store({"a.tif": tiff(values, extra=kind), "b.tif": tiff(noise(4095, (8, 8, 3)))})
    data = ImageDataset(source, channels=3)
    data[0]
    assert len(data.take_skipped()) == (not readable)
    if readable:
        expected = scaled(values[:, :, :3], 0, 4095).transpose(2, 0, 1)
        assert np.abs(data.pixels(0) - expected).max() < 0.51


def test_tiff_of_which_pillow_drops_bits(store):
    odd = tiff(noise(4095, (8, 8, 3)), planes=True, compression=8)
    data = ImageDataset(store({"a.tif": odd, "b.tif": tiff(noise(4095, (8, 8, 3)))}))
    data[0]
    (problem,) = data.take_skipped()
    assert problem.why == (
        "a kind of TIFF that Pillow reads with 8 bits (16 bits, compressed, one colour after the "
        "other); save it in another form"
    )


@pytest.mark.parametrize("pair", [(5, 5), (9, 1), (0, float("nan")), (0, float("inf")), (1,), "ab"])
def test_ranges_that_are_none(store, pair):
    with pytest.raises(UserError, match="^range: expected"):
        ImageDataset(store({"a.png": encoded(picture())}), value_range=pair)


def test_loader_processes_tell_what_they_cut(store):
    data = ImageDataset(
        store({f"{i}.png": encoded_deep(noise(4095, seed=i)) for i in range(4)}),
        value_range=(0, 1000),
    )
    loader = torch.utils.data.DataLoader(data, batch_size=2, num_workers=2)
    assert sum(len(x) for x, _ in loader) == 4
    assert data.take_cut() == "by now, 4 images have values outside 0 to 1000, which are cut"


def test_all_commands_look_at_the_same_files(store):
    """However many images a survey opens."""
    files = {f"{i:03}.png": encoded(picture(mode="L", seed=i)) for i in range(300)}
    deep_ones = {f"{i:03}.png": encoded_deep(noise(4095, seed=i)) for i in range(0, 300, 4)}
    source = store({**files, **deep_ones})
    data = ImageDataset(source)
    again = deep_images(data.source, data.files)
    assert again == data.deep and len(again.extents) > 10
