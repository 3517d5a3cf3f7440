# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from support.tiny import tiny

from stylegan import Networks, Pipeline, UserError, build_generator
from stylegan.video import journeys
from stylegan.video.journeys import frames, in_cells, keyframes_of_seeds, read_keyframes


def pipeline(**fields):
    config = tiny(**fields)
    torch.manual_seed(0)
    return Pipeline(Networks(config, {}, G_ema=build_generator(config)))


def pixels(image):
    return np.asarray(image).astype(int)


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
        (lambda p: np.savez(p.open("wb"), a=1, b=2), "expected an array named ws or w, got a, b"),
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
