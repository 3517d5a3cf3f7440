# SPDX-License-Identifier: Apache-2.0
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from support.cases import by_tier
from support.native import ROOT
from support.processes import usual_signals

from stylegan import Pipeline
from stylegan.video import writers


@pytest.fixture(scope="module")
def pipe(trained):
    return Pipeline.from_pretrained(trained, "cpu")


def first_frame(path):
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB")).astype(int), file.n_frames


def test_a_video_of_seeds(run, trained, tmp_path, pipe):
    args = ["--seeds", "1,2", "--trunc", "0.7", "--class", "food & drink", "--frames", "4"]
    args += ["--scale", "1", "--out", "new/a.gif"]
    code, out, err = run("video", trained, *args)
    assert code == 0, err
    assert out == "new/a.gif: 8 frames, 0.3 s\n"
    still = pipe(seeds=[1], truncation_psi=0.7, label=2).images[0]
    pixels, count = first_frame(tmp_path / "new" / "a.gif")
    assert count == 8 and np.abs(pixels - np.asarray(still)).max() <= 2


def test_a_grid(run, trained, tmp_path):
    args = ["--grid", "3x2", "--seconds", "0.5", "--fps", "10", "--no-loop"]
    code, out, err = run("video", trained, *args, "--out", "a.webp")
    assert code == 0, err
    assert out == "a.webp: 5 frames, 0.5 s\n"
    pixels, count = first_frame(tmp_path / "a.webp")
    assert pixels.shape == (8 * 32, 8 * 48, 3) and count == 5


def test_keyframes_from_a_file(run, trained, tmp_path, pipe):
    np.save(tmp_path / "ws.npy", pipe(seeds=[4, 5]).ws.numpy())
    args = ["--keyframes", "ws.npy", "--frames", "2", "--no-loop", "--scale", "1"]
    code, _, err = run("video", trained, *args, "--out", "a.gif")
    assert code == 0, err
    pixels, count = first_frame(tmp_path / "a.gif")
    assert count == 3 and np.abs(pixels - np.asarray(pipe(seeds=[4]).images[0])).max() <= 2


def test_mp4_is_what_comes_without_options(run, trained, tmp_path):
    av = pytest.importorskip("av")
    code, out, err = run("video", trained, "--frames", "2")
    assert code == 0, err
    assert out == "video.mp4: 12 frames, 0.4 s\n"
    with av.open(str(tmp_path / "video.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (256, 256, 30)
        assert len(list(container.decode(stream))) == 12


def test_without_pyav_one_line_comes_before_the_network_is_read(run, tmp_path, monkeypatch):
    monkeypatch.setattr(writers.importlib.util, "find_spec", lambda name: None)
    code, _, err = run("video", ROOT / "tests/fixtures/sg2ada-64.pkl", "--out", "a.mp4")
    assert code == 2 and "pip install 'stylegan[video]'" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "args, message",
    [
        ("--out a.avi", "a.avi: expected a name that ends in .mp4, .webp or .gif"),
        ("--out a.gif --seeds 3", "--seeds: expected two or more; got 1"),
        ("--out a.gif --seeds 0-4 --grid 2x1", "two or more for each of 2 cells"),
        ("--out a.gif --grid 2", "expected columns and rows like 3x2"),
        ("--out a.gif --keyframes nothing.npy", "nothing.npy: cannot be read"),
        ("--out a.gif --keyframes x.npy --trunc 0.7", "--trunc does not go with --keyframes"),
        ("--out a.gif --keyframes x.npy --class 1", "--class does not go with --keyframes"),
        ("--out a.gif --frames 3 --seconds 3", "--frames does not go with --seconds"),
        ("--out a.gif --seconds nan", "expected a finite number"),
        ("--out a.gif --fps 60", "at most 50 frames per second"),
        ("--out a.gif --class Cars", "class 'Cars': expected a number"),
        ("--out text/a.gif", "cannot make the folder"),
        ("--out folder.gif", "is a directory"),
    ],
)
def test_wrong_input_is_one_line(run, trained, tmp_path, args, message):
    (tmp_path / "text").write_text("hello")
    (tmp_path / "folder.gif").mkdir()
    code, _, err = run("video", trained, *args.split())
    assert code == 2 and message in err and err.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.gif", "text"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@by_tier("suffix", quick=["webp"], thorough=["mp4"])
def test_ctrl_c_leaves_nothing(trained, tmp_path, suffix):
    if suffix == "mp4":
        pytest.importorskip("av")
    code = "from stylegan.cli.main import program; program()"
    args = ["video", str(trained), "--seconds", "9999", "--device", "cpu", "--out", f"a.{suffix}"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *args],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=usual_signals,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.3)
    (part,) = tmp_path.iterdir()
    assert part.name == f".part-{process.pid}-a.{suffix}"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1].endswith("stylegan: interrupted\n")
    assert process.returncode == 130 and not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on the size of files")
@by_tier("suffix", quick=["gif"], thorough=["mp4"])
def test_a_full_disk_is_one_line(trained, tmp_path, suffix):
    if suffix == "mp4":
        pytest.importorskip("av")
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
    code += "from stylegan.cli.main import program; program()"
    args = ["video", str(trained), "--seconds", "60", "--device", "cpu", "--out", f"a.{suffix}"]
    result = subprocess.run(
        [sys.executable, "-c", code, *args], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert result.stderr.endswith(
        f"stylegan: a.{suffix}: cannot be written (File too large); make space, or write to "
        "another disk\n"
    ), result.stderr
    assert not list(tmp_path.iterdir())
