# SPDX-License-Identifier: Apache-2.0
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from support.tiny import tiny

from stylegan import Networks, Pipeline, UserError, build_generator
from stylegan.video import journeys, writers
from stylegan.video.journeys import frames, in_cells, keyframes_of_seeds, read_keyframes

COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 100, 50)]
SUFFIXES = [".mp4", ".webp", ".gif"]


def pipeline(**fields):
    config = tiny(**fields)
    torch.manual_seed(0)
    return Pipeline(Networks(config, {}, G_ema=build_generator(config)))


def pixels(image):
    return np.asarray(image).astype(int)


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


def test_frames_pass_through_the_keyframes_in_every_cell():
    pipe = pipeline()
    ws = in_cells(keyframes_of_seeds(pipe, range(6), truncation_psi=0.7), 2)
    assert ws.shape == (2, 3, pipe.G.num_ws, pipe.G.w_dim)
    images = list(frames(pipe, ws, 12))
    assert len(images) == 12 and images[0].size == (32, 16)
    stills = pipe(seeds=range(6), truncation_psi=0.7).images
    for i in range(3):
        both = np.concatenate([pixels(stills[i]), pixels(stills[3 + i])], axis=1)
        assert np.abs(pixels(images[4 * i]) - both).max() <= 1
    below = next(frames(pipe, ws, 12, columns=1))
    assert below.size == (16, 32)


def test_the_last_frame_leads_to_the_first():
    pipe = pipeline()
    images = [pixels(i) for i in frames(pipe, in_cells(keyframes_of_seeds(pipe, [1, 2, 3]), 1), 90)]
    steps = [np.abs(a - b).mean() for a, b in zip(images, images[1:] + images[:1])]
    assert steps[-1] <= max(steps[:-1])
    open_ends = list(frames(pipe, in_cells(keyframes_of_seeds(pipe, [1, 2, 3]), 1), 9, loop=False))
    last = pipe(seeds=[3]).images[0]
    assert np.abs(pixels(open_ends[-1]) - pixels(last)).max() <= 1


def test_chunks_do_not_show(monkeypatch):
    pipe = pipeline()
    ws = in_cells(keyframes_of_seeds(pipe, range(4)), 2)
    whole = [pixels(i) for i in frames(pipe, ws, 10)]
    monkeypatch.setattr(journeys, "CHUNK", 5)
    parts = [pixels(i) for i in frames(pipe, ws, 10)]
    assert np.abs(np.stack(whole) - np.stack(parts)).max() <= 1


@pytest.mark.parametrize("channels, mode", [(1, "L"), (4, "RGBA")])
def test_networks_of_other_channels(channels, mode):
    pipe = pipeline(channels=channels)
    ws = in_cells(keyframes_of_seeds(pipe, range(2)), 1)
    assert next(frames(pipe, ws, 2)).mode == mode


def test_keyframes_from_a_file(tmp_path):
    pipe = pipeline()
    ws = keyframes_of_seeds(pipe, range(3)).numpy()
    np.save(tmp_path / "a.npy", ws)
    np.savez(tmp_path / "b.npz", ws=ws, other=1)
    np.savez_compressed(tmp_path / "c.npz", w=ws[:, 0])
    for name in ("a.npy", "b.npz", "c.npz"):
        assert (read_keyframes(tmp_path / name, pipe.G).numpy() == ws).all()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda p: None, "No such file"),
        (lambda p: p.write_bytes(b"hello"), "expected an .npy or .npz file of numbers"),
        (lambda p: p.write_bytes(b""), "expected an .npy or .npz file of numbers"),
        (lambda p: np.save(p, np.zeros((2, 3, 8))), r"ws of shape \[N, 6, 8\], got \[2, 3, 8\]"),
        (lambda p: np.save(p, np.zeros((0, 6, 8))), r"got \[0, 6, 8\]"),
        (lambda p: np.save(p, np.full((2, 6, 8), np.nan)), "not finite"),
        (lambda p: np.save(p, np.array([{}]), allow_pickle=True), "expected an .npy or .npz"),
        (lambda p: np.savez(p.open("wb"), a=1, b=2), "expected an array named ws, got a, b"),
    ],
)
def test_files_that_hold_no_keyframes(tmp_path, make, message):
    path = tmp_path / "a.npy"
    make(path)
    with pytest.raises(UserError, match=message):
        read_keyframes(path, pipeline().G)


@pytest.mark.parametrize("count, cells", [(1, 1), (5, 2), (2, 2)])
def test_too_few_keyframes(count, cells):
    with pytest.raises(UserError, match="expected two or more"):
        in_cells(torch.zeros(count, 6, 8), cells)
