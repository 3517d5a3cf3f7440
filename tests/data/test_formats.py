# SPDX-License-Identifier: Apache-2.0
"""In which format a data set is written, and which files keep their bytes."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from support.deep_images import png16, png_chunk
from support.pictures import encoded, picture
from support.profiles import rgb_profile

from stylegan import UserError
from stylegan.data import decode, preparation
from stylegan.data.dataset import ImageDataset
from stylegan.data.made import read_made
from stylegan.data.pixels import keep
from stylegan.data.pixels.encode import Encoding
from stylegan.data.source import open_source

SECRET = b"52.5200 N 13.4050 E"


def photo(size=(48, 32), mode="RGB", seed=0):
    """A smooth picture, which JPEG makes small."""
    return picture((6, 4), mode, seed).resize(size, Image.Resampling.BICUBIC)


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_metadata(kind, image=None, **options):
    """An image file with EXIF, XMP, a comment and a profile, as far as the format has them."""
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()  # ImageDescription
    more = {"exif": exif, "icc_profile": rgb_profile("srgb", "srgb"), **options}
    if kind == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("place", SECRET.decode())
        text.add_itxt("place", SECRET.decode())
        more["pnginfo"] = text
    if kind == "JPEG":
        more |= {"comment": SECRET, "xmp": b"<x:xmpmeta>" + SECRET}
    if kind == "WEBP":
        more |= {"xmp": b"<x:xmpmeta>" + SECRET}
    return saved(image or photo(), kind, **more)


def raw(file):
    """The pixels in a file, as Pillow reads them."""
    image = Image.open(io.BytesIO(file))
    return np.asarray(image).reshape(image.height, image.width, -1)


RGB_INSIDE = with_metadata("JPEG", keep_rgb=True)

KEPT = {
    "JPEG": with_metadata("JPEG"),
    "JPEG, progressive": with_metadata("JPEG", progressive=True),
    "JPEG, restart markers": with_metadata("JPEG", restart_marker_blocks=2),
    "JPEG, 4:4:4": with_metadata("JPEG", subsampling=0),
    "JPEG, and other bytes behind it": with_metadata("JPEG") + SECRET + b"\xff\xd9",
    "JPEG, RGB inside": RGB_INSIDE,
    "JPEG, RGB by Adobe's segment alone": RGB_INSIDE.replace(
        b"R\x11\0G\x11\0B\x11\0", b"\1\x11\0\2\x11\0\3\x11\0"
    ).replace(b"\3R\0G\0B\0", b"\3\1\0\2\0\3\0"),
    "PNG": with_metadata("PNG"),
    "PNG, and other bytes behind it": with_metadata("PNG") + SECRET,
    "WebP, lossless": with_metadata("WEBP", lossless=True),
    "WebP, lossy": with_metadata("WEBP"),
    "MPO": saved(photo(), "MPO", save_all=True, append_images=[photo(seed=1)]),
    "grey JPEG": with_metadata("JPEG", photo(mode="L"), icc_profile=b""),
    "grey PNG": with_metadata("PNG", photo(mode="L"), icc_profile=b""),
    "RGBA PNG": with_metadata("PNG", Image.new("RGBA", (48, 32), (9, 8, 7, 200))),
    "RGBA WebP": with_metadata("WEBP", Image.new("RGBA", (48, 32), (9, 8, 7, 200)), lossless=True),
    "gAMA": encoded(photo())[:33]
    + png_chunk(b"gAMA", (100000).to_bytes(4, "big"))
    + encoded(photo())[33:],
}


@pytest.mark.parametrize("kind", KEPT)
def test_bytes_are_kept_without_metadata(store, tmp_path, kind):
    file = KEPT[kind]
    done = preparation.prepare(store({"a.png": file}), tmp_path / "out", workers=0)
    (path,) = (tmp_path / "out" / "00000").iterdir()
    written = path.read_bytes()
    assert done.kept == 1 and len(written) <= len(file) and SECRET not in written
    assert np.array_equal(raw(written), raw(file))
    for info in ("exif", "xmp", "icc_profile", "comment", "mp", "gamma", "place"):
        assert info not in Image.open(path).info
    if written[12:16] == b"VP8X":
        assert not written[20] & 0x2C  # it promises no profile, EXIF or XMP
    assert path.suffix == {"J": ".jpg", "M": ".jpg", "W": ".webp"}.get(kind[0], path.suffix)
    data = ImageDataset(tmp_path / "out")
    assert np.array_equal(data.pixels(0), raw(file).transpose(2, 0, 1))


def turned():
    exif = Image.Exif()
    exif[0x0112] = 3
    return saved(photo(), "JPEG", exif=exif)


WRITTEN = {
    "turned by EXIF": turned(),
    "a profile": saved(photo(), "JPEG", icc_profile=rgb_profile("p3", "srgb")),
    "BMP": saved(photo(), "BMP"),
    "GIF": saved(photo(), "GIF"),
    "TIFF": saved(photo(), "TIFF"),
    "palette": saved(photo().quantize(16), "PNG"),
    "CMYK": saved(photo().convert("CMYK"), "JPEG"),
    "16 bits": png16(np.asarray(photo()).astype(np.uint16) * 257),
    "animated PNG": saved(photo(), "PNG", save_all=True, append_images=[photo(seed=1)]),
    "animated WebP": saved(
        photo(), "WEBP", save_all=True, append_images=[photo(seed=1)], lossless=True
    ),
    "a transparent colour": saved(photo(), "PNG", transparency=(1, 2, 3)),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_changes_is_written_anew(store, tmp_path, kind):
    source = store({"a.png": WRITTEN[kind], "b.jpg": saved(photo(seed=2), "JPEG")})
    done = preparation.prepare(source, tmp_path / "out", channels=3, workers=0)
    first = tmp_path / "out" / "00000" / "img00000000.png"
    if kind == "animated PNG":  # further frames are metadata, as it were
        assert done.kept == 2
    else:
        assert done.formats == {"png": 1, "jpg": 1} and done.kept == 1
    data, made = ImageDataset(source, channels=3), ImageDataset(tmp_path / "out")
    assert np.array_equal(made.pixels(0), data.pixels(0))
    assert getattr(Image.open(first), "n_frames", 1) == 1


@pytest.mark.parametrize("options", [{"size": (16, 16)}, {"channels": 1}, {"channels": 4}])
def test_another_size_or_other_channels(store, tmp_path, options):
    source = store({"a.jpg": saved(photo(), "JPEG")})
    done = preparation.prepare(source, tmp_path / "out", workers=0, **options)
    assert done.formats == {"png": 1} and done.kept == 0


def test_the_same_size_asked_for(store, tmp_path):
    source = store({"a.jpg": saved(photo(), "JPEG"), "b.jpg": saved(photo((60, 40)), "JPEG")})
    done = preparation.prepare(source, tmp_path / "out", size=(32, 48), workers=0)
    assert done.formats == {"png": 1, "jpg": 1} and done.kept == 1


def test_invisible_colours_are_not_kept(store, tmp_path):
    image = Image.new("RGBA", (8, 8), (200, 100, 50, 0))
    done = preparation.prepare(store({"a.png": encoded(image)}), tmp_path / "out", workers=0)
    assert done.kept == 0 and not ImageDataset(tmp_path / "out").pixels(0).any()


@pytest.mark.parametrize(
    "encoding, ending, lossless",
    [
        (Encoding("png"), "png", True),
        (Encoding("webp"), "webp", True),
        (Encoding("webp", 80), "webp", False),
        (Encoding("jpeg"), "jpg", False),
        (Encoding("jpeg", 50), "jpg", False),
    ],
)
def test_formats(store, tmp_path, encoding, ending, lossless):
    files = {"a.jpg": with_metadata("JPEG"), "b.png": encoded(photo(seed=1))}
    source = store(files)
    done = preparation.prepare(source, tmp_path / "out.zip", encoding=encoding, workers=2)
    assert done.formats == {ending: 2} and done.kept == 0
    data, made = ImageDataset(source), ImageDataset(tmp_path / "out.zip")
    for i in range(2):
        off = np.abs(made.pixels(i).astype(int) - data.pixels(i)).max()
        assert off == 0 if lossless else 0 < off < 60
    with zipfile.ZipFile(tmp_path / "out.zip") as z:
        content = json.loads(z.read("dataset.json"))
        assert not any(SECRET in z.read(name) for name in z.namelist())
    assert content["made"]["format"] == str(encoding)


def test_a_lower_quality_is_smaller(store, tmp_path):
    source = store({"a.png": encoded(picture((64, 64)))})
    sizes = []
    for quality in (20, 60, None):
        dest = tmp_path / f"{quality}.zip"
        preparation.prepare(source, dest, encoding=Encoding("jpeg", quality), workers=0)
        sizes.append(dest.stat().st_size)
    assert sizes == sorted(sizes) and sizes[0] < sizes[1] < sizes[2]


def test_webp_keeps_transparency(store, tmp_path):
    source = store({"a.png": encoded(picture((16, 16), "RGBA"))})
    preparation.prepare(source, tmp_path / "out", encoding=Encoding("webp"), workers=0)
    assert np.array_equal(ImageDataset(tmp_path / "out").pixels(0), ImageDataset(source).pixels(0))


@pytest.mark.parametrize(
    "encoding, message",
    [
        (Encoding("jpeg"), "jpeg: has no transparency"),
        (Encoding("png", 90), "quality: goes with --format jpeg or --format webp"),
        (Encoding("keep", 90), "quality: goes with"),
        (Encoding("webp", 0), "quality: expected 1 to 100, got 0"),
        (Encoding("gif"), "format: expected one of keep, png, jpeg, webp, got 'gif'"),
    ],
)
def test_formats_that_do_not_fit(store, tmp_path, encoding, message):
    source = store({"a.png": encoded(picture((16, 16), "RGBA"))})
    with pytest.raises(UserError, match=message):
        preparation.prepare(source, tmp_path / "out", encoding=encoding, workers=0)
    assert not (tmp_path / "out").exists()


def test_webp_is_not_that_large():
    with pytest.raises(UserError, match="webp: holds at most 16383 px a side; use --format png"):
        Encoding("webp").check(3, (16, 16384))


@pytest.mark.parametrize("kind", KEPT)
def test_damaged_files_are_no_puzzle(kind):
    """Every cut and many changed bytes: the bytes of a picture, or None, and no error."""
    name = {"J": "JPEG", "g": "PNG", "M": "MPO", "W": "WEBP"}.get(kind[0], "PNG")
    name = {"grey JPEG": "JPEG", "RGBA WebP": "WEBP"}.get(kind, name)
    file = KEPT[kind]
    assert keep.picture_only(file, name)
    for at in range(0, len(file), 7):
        keep.picture_only(file[:at], name)
        changed = file[:at] + bytes([file[at] ^ 0xFF]) + file[at + 1 :]
        keep.picture_only(changed, name)


def test_a_kept_file_is_checked_by_decoding(store, tmp_path, monkeypatch):
    monkeypatch.setattr(keep, "picture_only", lambda data, kind: encoded(picture((48, 32))))
    source = store({"a.png": encoded(photo())})
    assert preparation.prepare(source, tmp_path / "out", workers=0).kept == 0
    assert np.array_equal(ImageDataset(tmp_path / "out").pixels(0), ImageDataset(source).pixels(0))


def test_how_it_was_made_is_recorded(store, tmp_path):
    source = store({"a.png": png16(np.full((16, 12, 1), 900, np.uint16))})
    dest = tmp_path / "out.zip"
    preparation.prepare(source, dest, size=(8, 8), transform="pad", workers=0)
    with zipfile.ZipFile(dest) as z:
        made = json.loads(z.read("dataset.json"))["made"]
    assert made["by"].startswith("stylegan ") and made["source"] == source.name
    assert made["size"] == [8, 8] and made["transform"] == "pad" and made["filter"] == "Lanczos"
    assert made["value_range"] == [0, 1023] and made["colours"] == "sRGB" and made["pillow"]
    assert made["channels"] == 1 and made["format"] == "unchanged, or else png"
    assert str(tmp_path) not in json.dumps(made)
    line = read_made(open_source(dest))
    assert "8x8 px, pad, Lanczos" in line and "0 to 1023 as black to white" in line


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"made": 3}',
        b'{"made": {}}',
        b'{"made": {"size": 3}}',
        b'{"made": {"size": [1]}}',
        b'{"made": {"size": ["a", 1]}}',
        b'{"made": {"size": [1, Infinity]}}',
        b'{"made": {"size": [8, 8], "value_range": [[], 1]}}',
        b'{"made": {"size": [8, 8], "value_range": "ab"}}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_damaged_record_is_ignored(store, content):
    source = open_source(store({"a.png": encoded(picture()), "dataset.json": content}))
    assert read_made(source) is None


def test_the_ending_of_mpo(store):
    """Which cameras and phones write, mostly as .jpg."""
    assert len(ImageDataset(store({"a.mpo": KEPT["MPO"]}))) == 1


def test_a_file_that_claims_to_be_another(store, tmp_path):
    source = store({"a.png": saved(photo(), "JPEG")})
    preparation.prepare(source, tmp_path / "out", workers=0)
    assert [p.suffix for p in (tmp_path / "out" / "00000").iterdir()] == [".jpg"]
    assert decode.look(saved(photo(), "JPEG"), "a.png").channels == 3
