# SPDX-License-Identifier: Apache-2.0
import sys

import numpy as np
import pytest
from PIL import Image

from stylegan import UserError
from stylegan.video import writers

COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 100, 50)]
SUFFIXES = [".mp4", ".webp", ".gif"]


def written(path, images, fps=10, **kwargs):
    """The file's frames as RGB or RGBA arrays, and their durations in ms."""
    if path.suffix == ".mp4":
        pytest.importorskip("av")
    with writers.writer_for(path)(path, images[0].size, fps, **kwargs) as writer:
        for image in images:
            writer.add(image)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    return read(path)


def read(path):
    if path.suffix == ".mp4":
        import av

        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            arrays = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
            return arrays, [1000 / float(stream.average_rate)] * len(arrays)
    with Image.open(path) as file:
        arrays, durations = [], []
        for i in range(file.n_frames):
            file.seek(i)
            file.load()
            arrays.append(np.asarray(file.convert("RGBA" if path.suffix == ".webp" else "RGB")))
            durations.append(file.info["duration"])
        return arrays, durations


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("size", [(32, 48), (33, 47)])
def test_what_is_written_can_be_read(tmp_path, suffix, size):
    images = [Image.new("RGB", size, color) for color in COLORS]
    got, durations = written(tmp_path / f"a{suffix}", images, fps=30)
    assert len(got) == len(images)
    extra = [n % 2 if suffix == ".mp4" else 0 for n in size]
    for image, color in zip(got, COLORS):
        assert image.shape[:2] == (size[1] + extra[1], size[0] + extra[0])
        assert np.abs(image[:, :, :3].astype(int) - color).max() <= 3
    assert sum(durations) == pytest.approx(1000 * len(images) / 30, abs=10)
    assert max(durations) - min(durations) <= 10


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_many_colours(tmp_path, suffix):
    y, x = np.mgrid[:64, :64] / 63
    ramp = np.stack([x, y, 1 - x * y], -1)
    images = [Image.fromarray((255 * np.roll(ramp, 9 * i, 0)).astype(np.uint8)) for i in range(4)]
    got, _ = written(tmp_path / f"a{suffix}", images)
    for image, before in zip(got, images):
        blurred = [
            np.asarray(i.convert("RGB").resize((8, 8), Image.Resampling.BOX)).astype(int)
            for i in (Image.fromarray(image), before)
        ]
        assert np.abs(blurred[0] - blurred[1]).mean() < 2


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_grey_and_transparent_frames(tmp_path, suffix, mode):
    images = [Image.new("RGBA", (16, 16), (*c, 255 * (i % 2))) for i, c in enumerate(COLORS)]
    got, _ = written(tmp_path / f"a{suffix}", [image.convert(mode) for image in images])
    for i, (image, before) in enumerate(zip(got, images)):
        if mode == "L":
            grey = before.convert("L").getpixel((0, 0))
            assert np.abs(image[:, :, :3].astype(int) - grey).max() <= 3
        elif suffix == ".webp":
            assert (image[:, :, 3] == 255 * (i % 2)).all()
        elif i % 2 == 0:  # the checkerboard
            assert {round(int(v), -1) for v in image[[2, 2], [2, 12], 0]} == {200, 260}


def test_repetitions(tmp_path):
    images = [Image.new("RGB", (16, 16), color) for color in COLORS]
    for suffix, key in ((".webp", 1), (".gif", None)):
        for loop, plays in ((True, 0), (False, key)):
            path = tmp_path / f"{loop}" / f"a{suffix}"
            path.parent.mkdir(exist_ok=True)
            written(path, images, loop=loop)
            with Image.open(path) as file:
                assert file.info.get("loop") == plays
            path.unlink()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_is_left_of_what_was_broken_off(tmp_path, suffix):
    if suffix == ".mp4":
        pytest.importorskip("av")
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"the one before")
    with pytest.raises(KeyboardInterrupt):
        with writers.writer_for(path)(path, (16, 16), 10) as writer:
            writer.add(Image.new("RGB", (16, 16)))
            raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"the one before"


def test_suffix_and_extra(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"ends in .mp4, .webp or .gif"):
        writers.writer_for("a.avi")
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr(writers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'stylegan\[video\]'"):
        writers.writer_for("a.mp4")
    assert writers.writer_for("a.webp") and writers.writer_for("a.gif")


@pytest.mark.parametrize(
    "name, size, fps, message",
    [
        ("a.webp", (16384, 16), 10, "at most 16383 px a side, not 16384x16"),
        ("a.gif", (16, 16), 60, "at most 50 frames per second"),
        ("none/a.gif", (16, 16), 10, r"a.gif: cannot be written \(No such file"),
    ],
)
def test_what_a_file_cannot_be(tmp_path, name, size, fps, message):
    path = tmp_path / name
    with pytest.raises(UserError, match=message):
        writers.writer_for(path)(path, size, fps)
    assert list(tmp_path.iterdir()) == []
