# SPDX-License-Identifier: Apache-2.0
import os
import signal
import sys
import time

import pytest
import torch
from support.pictures import encoded, picture

from stylegan import UserError
from stylegan.data import loader
from stylegan.data.dataset import ImageDataset
from stylegan.data.loader import Batches, LoaderError
from stylegan.data.source import Problem


@pytest.fixture
def folder(tmp_path):
    for i in range(10):
        (tmp_path / f"{i}.png").write_bytes(encoded(picture(seed=i)))
    return tmp_path


def batches(data, workers=0, position=0, warn=lambda text: None, mirror=True):
    return Batches(data, 4, 1, mirror, position, workers, pin_memory=False, warn=warn)


def take(stream, count):
    images = [next(stream)[0].clone() for _ in range(count)]
    stream.close()
    return torch.cat(images)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_pure_function_of_seed_and_position(folder, workers):
    data = ImageDataset(folder)
    whole = take(batches(data), 8)
    assert torch.equal(take(batches(data, workers), 8), whole)
    assert torch.equal(take(batches(data, workers, position=12), 5), whole[12:])


@pytest.mark.parametrize("workers", [0, 2])
def test_the_global_random_numbers_are_left_alone(folder, workers):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    take(batches(ImageDataset(folder), workers), 2)
    assert torch.equal(torch.rand(4), expected)


def killing(data, index, once=None):
    """Make reading image `index` kill the process, if it is not this one; with `once`, a path, only
    the first time."""
    pixels, here = data.pixels, os.getpid()

    def read(i):
        if i == index and os.getpid() != here and not (once and once.exists()):
            if once:
                once.touch()
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        return pixels(i)

    data.pixels = read


forked = pytest.mark.skipif(sys.platform != "linux", reason="needs forked processes")


@forked
def test_a_process_that_dies_is_named_and_replaced(folder, tmp_path):
    data, lines = ImageDataset(folder), []
    whole = take(batches(data), 6)
    killing(data, 7, once=tmp_path / "done")
    assert torch.equal(take(batches(data, 2, warn=lines.append), 6), whole)
    assert lines == [
        "a loader process died at 7.png (SIGKILL, as when memory runs out); another replaces it"
    ]
    assert data.take_skipped() == []


@forked
def test_a_file_that_kills_twice_is_passed_over(folder):
    data, lines = ImageDataset(folder), []
    killing(data, 7)
    images = take(batches(data, 2, warn=lines.append, mirror=False), 6)
    # Two processes may have met it in the time that it takes to notice that one is gone.
    assert 1 <= len(lines) <= 2 and all("at 7.png" in line for line in lines)
    assert data.take_skipped() == [Problem("7.png", "kills the process that reads it")]
    eight = torch.from_numpy(data.pixels(8))
    assert (images == eight).all(dim=(1, 2, 3)).sum() >= 2 * 2  # in its own place, and for 7


@forked
def test_processes_that_keep_dying(folder, monkeypatch):
    monkeypatch.setattr(loader, "MAX_DEATHS", 2)
    data = ImageDataset(folder)
    here = os.getpid()
    data.pixels = lambda i: os._exit(3) if os.getpid() != here else None
    with pytest.raises(LoaderError, match=r"died at \d.png \(exit code 3\), 2 by now; --work"):
        take(batches(data, 1), 1)


@forked
def test_deaths_long_ago_are_forgotten(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(loader, "MAX_DEATHS", 2)
    monkeypatch.setattr(loader, "RECOVERED", 3)
    data, lines = ImageDataset(folder), []
    stream = batches(data, 1, warn=lines.append)
    for n in range(2):
        killing(data, n, once=tmp_path / f"done {n}")
        stream.close()
        stream._batches = stream._start()  # so that the process has the new way to die
        for _ in range(8):
            next(stream)
    stream.close()
    assert len(lines) == 2


@forked
def test_a_process_that_hangs_is_named_and_stop_is_heard(folder, monkeypatch):
    monkeypatch.setattr(loader, "HANGS_SECONDS", 1)
    data, lines, asked = ImageDataset(folder), [], []
    whole = take(batches(data, mirror=False), 3)
    pixels = data.pixels
    data.pixels = lambda i: (time.sleep(2.5 if i == 7 else 0), pixels(i))[1]
    assert torch.equal(take(batches(data, 2, warn=lines.append, mirror=False), 3), whole)
    assert lines[0] == "no images for 1 s: loader processes are at 7.png"
    data.pixels = lambda i: time.sleep(1000)
    stream = Batches(data, 4, 1, False, 0, 2, False, lines.append, stop=lambda: bool(asked))
    asked.append(True)
    begun = time.monotonic()
    assert next(stream, None) is None and time.monotonic() - begun < 5
    stream.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_come_through_as_one_line(folder, workers):
    data = ImageDataset(folder)
    for path in folder.iterdir():
        path.write_bytes(b"gone")
    with pytest.raises(UserError) as e:
        take(batches(data, workers), 1)
    assert str(e.value).startswith(f"{folder}: 10 files in a row cannot be used; the last: ")
    assert "\n" not in str(e.value)


@forked
def test_no_handler_that_raises_in_the_middle_of_a_step_is_left(folder):
    next(iter(torch.utils.data.DataLoader([1, 2], num_workers=1)))  # installs one
    take(batches(ImageDataset(folder), 2), 1)
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
    mine = lambda *_: None
    signal.signal(signal.SIGCHLD, mine)
    try:
        take(batches(ImageDataset(folder), 2), 1)
        assert signal.getsignal(signal.SIGCHLD) == mine
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
