# SPDX-License-Identifier: Apache-2.0
"""`stylegan.train`: a run from Python, in a script, a thread and a notebook."""

import os
import signal
import sys
import threading
import types

import pytest

import stylegan
from stylegan.runs.progress import RunProgress
from stylegan.snapshots import snapshots_of
from stylegan.training import session
from stylegan.training.notebook import in_notebook

SMALL = dict(channel_base=64, channel_max=8, batch=4, kimg=0.016, resolution=16, device="cpu")


def train(data, tmp_path, **more):
    return stylegan.train(data, outdir=tmp_path / "runs", **{**SMALL, **more})


def test_a_run(images, tmp_path, capsys):
    result = train(images, tmp_path, progress=False)
    assert capsys.readouterr() == ("", "")
    assert (result.ended, result.kimg, result.signal) == ("length", 0.016, None)
    assert snapshots_of(result.run_dir)[-1] == result.snapshot
    assert result.run_dir.parent == tmp_path / "runs"
    assert result.pipeline("cpu")(seeds=[1]).images[0].size == (16, 16)


def test_the_header_is_printed_by_default(images, tmp_path, capsys):
    train(images, tmp_path)
    out, err = capsys.readouterr()
    assert "ops     " in out and "folder  " in out and "train:" in err


def test_progress(images, tmp_path, capsys):
    seen = []
    result = train(images, tmp_path, progress=seen.append)
    assert capsys.readouterr() == ("", "") and result.ended == "length"
    assert all(isinstance(p, RunProgress) for p in seen) and seen[-1].kimg == 0.016
    assert seen[-1].sheet.is_file() and seen[-1].losses


def test_progress_stops_a_run_and_resume_goes_on(images, tmp_path):
    first = train(images, tmp_path, kimg=1, progress=lambda p: False)
    assert first.ended == "progress" and 0 < first.kimg < 1 and first.snapshot
    again = stylegan.train(resume=first.run_dir, kimg=first.kimg + 0.008, progress=False)
    assert again.run_dir == first.run_dir and again.kimg == first.kimg + 0.008
    finished = train(images, tmp_path, kimg=again.kimg, resume="auto", progress=False)
    assert finished.snapshot == again.snapshot


def test_a_thread(images, tmp_path):
    results = []
    work = threading.Thread(target=lambda: results.append(train(images, tmp_path, progress=False)))
    work.start()
    work.join()
    assert results[0].ended == "length"


def sends(*signals):
    """A callback that sends this process signals after its first step."""
    left = list(signals)

    def send(progress):
        while progress.kimg and left:
            os.kill(os.getpid(), left.pop())

    return send


@pytest.fixture
def ctrl_c():
    """Ctrl-C works, also where the tests run in the background and it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_returns(images, tmp_path, ctrl_c):
    before = signal.getsignal(signal.SIGINT)
    result = train(images, tmp_path, kimg=1, progress=sends(signal.SIGINT))
    assert result.ended == "signal" and result.signal == signal.SIGINT and result.snapshot
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_is_a_keyboard_interrupt(images, tmp_path, ctrl_c):
    with pytest.raises(KeyboardInterrupt):
        train(images, tmp_path, kimg=1, progress=sends(signal.SIGINT, signal.SIGINT))
    assert snapshots_of(next((tmp_path / "runs").iterdir()))


def test_sigterm_is_meant_for_the_program(images, tmp_path):
    got = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
    try:
        train(images, tmp_path, kimg=1, progress=sends(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert got == [signal.SIGTERM] and snapshots_of(next((tmp_path / "runs").iterdir()))


@pytest.mark.parametrize(
    "fields, why",
    [
        (dict(resume="nowhere"), "nowhere"),
        (dict(preset="huge"), "preset: expected one of auto, small"),
        (dict(colour=3), "there is no setting 'colour'$"),
        (dict(kmig=1), "there is no setting 'kmig'; did you mean kimg?"),
        (dict(kimg=-1), "kimg: expected a number above 0"),
    ],
)
def test_what_is_refused(images, tmp_path, fields, why):
    with pytest.raises(stylegan.UserError, match=why):
        train(images, tmp_path, progress=False, **fields)
    assert not (tmp_path / "runs").exists()


def test_settings_that_differ_on_resume(images, tmp_path, capsys):
    first = train(images, tmp_path, progress=False)
    with pytest.raises(stylegan.UserError, match="is a run with other settings"):
        stylegan.train(resume=first.run_dir, batch=8)
    assert "--batch" in capsys.readouterr().out
    for fields in (dict(preset="auto"), dict(init_from=first.run_dir)):
        with pytest.raises(stylegan.UserError, match="does not go with resume"):
            stylegan.train(resume=first.run_dir, **fields)


class Handle:
    """Of a picture that IPython displays."""

    def __init__(self, shown):
        self.shown = shown

    def update(self, image):
        self.shown.append(("update", image))


@pytest.fixture
def notebook(monkeypatch):
    """A stub of IPython in a notebook. Returns: [(display or update, PNG)]."""
    shown = []

    def display(image, display_id):
        assert display_id is True
        shown.append(("display", image))
        return Handle(shown)

    shell = type("ZMQInteractiveShell", (), {})
    ipython, module = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = type("Shell", (shell,), {})  # as in Colab
    module.Image, module.display = lambda data, format: data, display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return shown


def test_a_notebook_shows_the_newest_sheet(images, tmp_path, notebook, capsys):
    assert in_notebook()
    result = train(images, tmp_path)
    out, err = capsys.readouterr()
    assert "ops     " in out and "train:" in out and "\r" in out and err == ""
    assert [kind for kind, _ in notebook] == ["display"] + ["update"] * (len(notebook) - 1)
    assert len(notebook) > 1
    newest = sorted((result.run_dir / "samples").glob("0*.png"))[-1]
    assert notebook[-1][1] == newest.read_bytes()


def test_a_quiet_notebook(images, tmp_path, notebook, capsys):
    train(images, tmp_path, progress=False)
    assert notebook == [] and capsys.readouterr() == ("", "")


@pytest.mark.parametrize("shell", [None, "TerminalInteractiveShell"])
def test_no_notebook(monkeypatch, shell):
    module = types.ModuleType("IPython")
    module.get_ipython = type(shell, (), {}) if shell else lambda: None
    monkeypatch.setitem(sys.modules, "IPython", module)
    assert not in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()


def test_exit_codes():
    def code(**more):
        about = dict(run_dir=None, snapshot=1, kimg=1, target_kimg=2, ended="length")
        return session.TrainingResult(**{**about, **more}).exit_code

    assert (code(), code(snapshot=None), code(signal=2), code(signal=15)) == (0, 1, 130, 143)
