# SPDX-License-Identifier: Apache-2.0
"""Embedded colour profiles become sRGB."""

import io
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms
from support.deep_images import png16, png_chunk
from support.pictures import encoded, picture
from support.profiles import PRIMARIES, cmyk_profile, grey_profile, rgb_profile, to_srgb

from stylegan.data import decode, preparation
from stylegan.data.dataset import ImageDataset
from stylegan.data.pixels import colour

PROFILES = {  # primaries, gamma
    "Display P3": ("p3", "srgb"),
    "Adobe RGB": ("adobe", 563 / 256),
    "ProPhoto": ("prophoto", 1.8),
    "linear": ("srgb", 1),
    "gamma 2.2": ("srgb", 2.2),
}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
BROKEN = {
    "no profile": b"hello",
    "cut": rgb_profile("p3", "srgb")[:200],
    "zeros": bytes(1000),
    "of CMYK": cmyk_profile(),
    "of grey": grey_profile(1.0),
    "a wild offset": rgb_profile("p3", "srgb").replace(b"rXYZ", b"rXYZ\xff", 1)[:-1],
    "no primaries": rgb_profile("p3", "srgb").replace(b"gXYZ", b"gone"),
}


def saved(image, profile, kind="PNG"):
    more = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}
    buffer = io.BytesIO()
    image.save(buffer, kind, icc_profile=profile, **more.get(kind, {}))
    return buffer.getvalue()


def pixels_of(file, channels=3):
    return decode.to_pixels(decode.open_image(file, "x"), channels).transpose(1, 2, 0)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("name", PROFILES)
def test_colours_of_a_profile(name, kind):
    image = picture((16, 16))
    image.putpixel((0, 0), (255, 0, 0))
    file = saved(image, rgb_profile(*PROFILES[name]), kind)
    expected = to_srgb(np.asarray(image), *PROFILES[name])
    assert np.abs(pixels_of(file) - expected).max() < 1.1  # a rounding of lcms2, and one of ours
    assert np.abs(expected - np.asarray(image)).max() > 5


@pytest.mark.parametrize("kind", ["JPEG", "AVIF"])
def test_colours_of_a_profile_in_lossy_files(kind):
    if kind not in decode.formats():
        pytest.skip(f"Pillow without {kind}")
    image = Image.new("RGB", (16, 16), (200, 120, 90))
    decoded = np.asarray(Image.open(io.BytesIO(saved(image, b"", kind))).convert("RGB"))
    got = pixels_of(saved(image, rgb_profile("p3", "srgb"), kind))
    assert np.abs(got - to_srgb(decoded, "p3", "srgb")).max() < 1.5


def test_training_and_the_data_tool_agree(store, tmp_path):
    files = {f"{i}.png": saved(picture(seed=i), rgb_profile("adobe", 563 / 256)) for i in range(3)}
    source = store(files)
    data, done = ImageDataset(source), preparation.prepare(source, tmp_path / "out", workers=2)
    assert done.broken_profiles == done.kept == 0
    made = ImageDataset(tmp_path / "out")
    for i in range(3):
        assert np.array_equal(made.pixels(i), data.pixels(i))
        assert not np.array_equal(data.pixels(i), np.asarray(picture(seed=i)).transpose(2, 0, 1))
        assert np.array_equal(data.pixels(i).transpose(1, 2, 0), pixels_of(files[f"{i}.png"]))


@pytest.mark.parametrize("profile", [SRGB, rgb_profile("srgb", "srgb")])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_srgb_changes_nothing(profile, mode):
    image = picture(mode=mode)
    opened = decode.open_image(saved(image, profile), "x")
    assert colour.to_srgb(opened) is opened and not colour.has_broken_profile(opened)


def test_alpha_is_kept_aside():
    image = picture(mode="RGBA")
    got = pixels_of(saved(image, rgb_profile("p3", "srgb")), 4)
    expected = to_srgb(np.asarray(image)[:, :, :3], "p3", "srgb")
    assert np.array_equal(got[:, :, 3], np.asarray(image)[:, :, 3])
    visible = got[:, :, 3] > 0
    assert np.abs(got[:, :, :3] - expected)[visible].max() < 1


@pytest.mark.parametrize("transparent", [False, True])
def test_a_palette(transparent):
    image = picture().quantize(8)
    more = {"transparency": 3} if transparent else {}
    buffer = io.BytesIO()
    image.save(buffer, "PNG", icc_profile=rgb_profile("p3", "srgb"), **more)
    plain = np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("RGBA"))
    got = pixels_of(buffer.getvalue(), 4)
    seen = plain[:, :, 3] > 0
    assert np.array_equal(got[:, :, 3], plain[:, :, 3]) and seen.all() != transparent
    expected = to_srgb(plain[:, :, :3], "p3", "srgb")
    assert np.abs(got[:, :, :3] - expected)[seen].max() < 1


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey(mode):
    image = picture((16, 16), mode)
    file = saved(image, grey_profile(1.0))
    assert decode.look(file, "x").channels == (1 if mode == "L" else 4)
    got = pixels_of(file, 4)
    grey = np.asarray(image).reshape(16, 16, -1)[:, :, :1].repeat(3, 2)
    seen = got[:, :, 3] > 0
    assert np.abs(got[:, :, :3] - to_srgb(grey, "srgb", 1))[seen].max() < 1.5


def test_grey_with_a_profile_of_colours():
    image = picture((16, 16), "L")
    got = pixels_of(saved(image, rgb_profile("adobe", 1.8)), 1)[:, :, 0]
    expected = to_srgb(np.asarray(image)[:, :, None].repeat(3, 2), "adobe", 1.8)[:, :, 1]
    assert np.abs(got - expected).max() < 1.5


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk(kind):
    """With a profile, whose black ink is dark pink; without one, Pillow's arithmetic."""
    image = Image.new("CMYK", (8, 8), (0, 0, 0, 255))
    assert np.abs(pixels_of(saved(image, cmyk_profile(), kind))[0, 0] - [118, 0, 51.0]).max() <= 1
    assert not pixels_of(saved(image, b"", kind)).any()
    white = Image.new("CMYK", (8, 8))
    assert pixels_of(saved(white, cmyk_profile(), kind)).min() >= 254


@pytest.mark.parametrize(
    "lab, rgb", [((255, 128, 128), 255), ((0, 128, 128), 0), ((128, 128, 128), 119)]
)
def test_lab(lab, rgb):
    file = saved(Image.new("LAB", (8, 8), lab), b"", "TIFF")
    assert np.abs(pixels_of(file).astype(int) - rgb).max() <= 1


def test_sixteen_bits_with_a_profile():
    values = np.asarray(picture((16, 16))).astype(np.uint16) * 257
    file = png16(values)
    import zlib

    profile = b"p\0\0" + zlib.compress(rgb_profile("p3", "srgb"))
    got = pixels_of(file[:33] + png_chunk(b"iCCP", profile) + file[33:])
    assert np.abs(got - to_srgb(values / 257, "p3", "srgb")).max() < 1


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_profile_changes_nothing_and_is_counted(store, tmp_path, name):
    image = picture()
    files = {"a.png": saved(image, BROKEN[name]), "b.png": encoded(picture(seed=1))}
    source = store({**files, "c.png": saved(picture(seed=2), rgb_profile("p3", "srgb"))})
    data = ImageDataset(source)
    assert np.array_equal(data.pixels(0), np.asarray(image).transpose(2, 0, 1))
    told = "1 image has a broken colour profile; the values are taken unchanged"
    assert data.notes == [told]
    done = preparation.prepare(source, tmp_path / "out", workers=0)
    assert done.broken_profiles == 1 and told in done.changes
    assert ImageDataset(tmp_path / "out").notes == []  # which has no profile any more


def test_a_profile_of_another_kind_of_image(store):
    image = picture(mode="L")
    data = ImageDataset(store({"a.png": saved(image, cmyk_profile())}))
    assert len(data.notes) == 1 and np.array_equal(data.pixels(0)[0], np.asarray(image))


def test_gamma_and_primaries_of_png_are_ignored():
    """gAMA and cHRM without a profile: many of them are wrong, and most programs ignore them."""
    image = picture()
    file = encoded(image)
    gamma = png_chunk(b"gAMA", (100000).to_bytes(4, "big"))
    assert np.array_equal(pixels_of(file[:33] + gamma + file[33:]), np.asarray(image))


def with_exif(image, colour_space, index, **options):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = colour_space
    exif.get_ifd(0x8769)[0xA005] = {1: index}
    exif[0x0112] = 1
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=100, subsampling=0, exif=exif, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "colour_space, index, profile, adobe",
    [
        (0xFFFF, "R03", b"", True),
        (0xFFFF, "R98", b"", False),
        (1, "R03", b"", False),
        (0xFFFF, "R03", rgb_profile("srgb", "srgb"), False),  # a profile comes first
    ],
)
def test_adobe_rgb_of_a_camera(colour_space, index, profile, adobe):
    """Which EXIF alone names."""
    image = Image.new("RGB", (16, 16), (200, 60, 90))
    file = with_exif(image, colour_space, index, icc_profile=profile)
    plain = np.asarray(Image.open(io.BytesIO(file)))
    expected = to_srgb(plain, "adobe", 563 / 256) if adobe else plain
    assert np.abs(pixels_of(file) - expected).max() < 1.1
    assert adobe == (np.abs(pixels_of(file).astype(int) - plain).max() > 5)


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"nonsense"])
def test_damaged_exif_names_nothing(exif):
    image = Image.new("RGB", (8, 8), (200, 60, 90))
    image.info["exif"] = exif
    assert colour.to_srgb(image) is image


def test_threads_and_processes_share_transforms(store):
    files = {
        f"{name}{i}.png": saved(picture((64, 64), seed=i), rgb_profile(name, 1.8))
        for name in PRIMARIES
        for i in range(4)
    }
    data = ImageDataset(store(files))
    expected = [pixels_of(file).transpose(2, 0, 1) for _, file in sorted(files.items())]
    colour._conversion.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: pickle.loads(pickle.dumps(data)).pixels(i), range(16)))
    assert all(map(np.array_equal, found, expected))
