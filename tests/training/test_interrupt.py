# SPDX-License-Identifier: Apache-2.0
"""Signals, as a shell or a scheduler sends them to `stylegan train`."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from support.processes import usual_signals

from stylegan.networks import load_networks
from stylegan.runs.folder import is_locked, runs_of
from stylegan.snapshots import snapshots_of
from stylegan.training.interrupt import Interrupt

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")

COMMAND = [sys.executable, "-c", "from stylegan.cli.main import program; program()", "train"]
COMMAND += """--channel-base 128 --channel-max 8 --resolution 16 --batch 4 --kimg 100
    --tick-kimg 0.004 --snapshot-minutes 0 --device cpu""".split()


@pytest.fixture
def training(tmp_path):
    """training(*options) -> (process, run folder) once the first lines are in the log."""
    processes = []

    def start(*options):
        process = subprocess.Popen(
            [*COMMAND, *options],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=usual_signals,
        )
        processes.append(process)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for run_dir in runs_of(tmp_path / "runs"):
                log = run_dir / "log.jsonl"
                if log.exists() and log.read_text().count("loss/G") >= 3:
                    return process, run_dir
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        raise AssertionError("it does not train")

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    "number, code, workers",
    [
        ("SIGINT", 130, 2),
        pytest.param("SIGTERM", 143, 0, marks=pytest.mark.thorough),
        pytest.param("SIGHUP", 129, 0, marks=pytest.mark.thorough),
    ],
)
def test_a_signal_finishes_the_step_and_saves(training, number, code, workers):
    process, run_dir = training("--workers", str(workers))
    assert is_locked(run_dir) and not snapshots_of(run_dir)
    process.send_signal(getattr(signal, number))
    out, _ = process.communicate(timeout=30)
    assert process.returncode == code, out
    assert "stopping after this step" in out and "--resume" in out and "Traceback" not in out
    (snapshot,) = snapshots_of(run_dir)
    assert load_networks(snapshot, "cpu").meta["kimg"] >= 0.012
    last = json.loads((run_dir / "log.jsonl").read_text().splitlines()[-1])
    assert last["event"] == "interrupted" and (run_dir / "report.html").is_file()
    assert not is_locked(run_dir)


@pytest.mark.thorough
def test_ctrl_c_in_a_terminal_reaches_the_loader_processes_too(training):
    process, run_dir = training("--workers", "2")
    children = [int(pid) for pid in _children(process.pid)]
    for pid in (*children, process.pid):
        os.kill(pid, signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130 and "died" not in out and "Traceback" not in out, out
    assert len(snapshots_of(run_dir)) == 1


def test_the_second_ctrl_c_stops_at_once(training):
    process, run_dir = training()
    process.send_signal(signal.SIGSTOP)  # so that the two come before anything is done
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.001)
    assert process.wait(timeout=5) in (-signal.SIGINT, 130)


def test_an_ignored_signal_stays_ignored():
    """nohup ignores SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
            assert interrupt.signal is None and interrupt.exit_code == 0
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            assert interrupt.signal == signal.SIGTERM and interrupt.exit_code == 143
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return f.read().split()
