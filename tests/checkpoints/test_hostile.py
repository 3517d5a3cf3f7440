# SPDX-License-Identifier: Apache-2.0
"""No file runs anything. Each is refused in one line, quickly and in little memory."""

import contextlib
import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import stylegan
from checkpoints import (
    hostile,
    hostile_child,
    hostile_files,  # noqa: F401  registers more
    hostile_objects,  # noqa: F401
    hostile_sharing,  # noqa: F401
    hostile_sizes,  # noqa: F401
)
from stylegan.checkpoints.open import open_checkpoint
from stylegan.errors import CheckpointError, UserError

SECONDS, MB = 1.0, 200
TESTS = Path(__file__).parents[1]
PYTHONPATH = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
FIXTURES = sorted(hostile.FIXTURES.glob("*.pkl")) + sorted(hostile.FIXTURES.glob("*.pt"))
# How a message begins if the file opens, but its networks cannot be built. Only `load_networks`
# refuses such a file.
OPENED = "hostile.pkl (NVIDIA "


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    command = [sys.executable, "-m", "checkpoints.hostile_child", "out.json"]
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    subprocess.run(command, cwd=folder, check=True, timeout=300, env=environment)
    return json.loads((folder / "out.json").read_text())


@pytest.mark.parametrize("name", hostile.ATTACKS)
def test_refused(outcomes, name):
    came, expected = outcomes[name], outcomes[name]["expected"]
    refusal = came["load_networks"]
    assert refusal["error"] == "CheckpointError", refusal["message"]
    message = refusal["message"]
    assert expected["message"] in message
    assert message.isprintable() and len(message) < 500
    if expected["at"] is not None:
        nested = " of a nested file" if expected["nested"] else ""
        assert message.endswith(f" (at byte {expected['at']}{nested})")
    assert message.startswith("hostile.pkl")
    opened = came["open_checkpoint"]
    refused = ("NoneType", "None") if message.startswith(OPENED) else ("CheckpointError", message)
    assert (opened["error"], opened["message"]) == refused
    for entry in hostile_child.ENTRIES:
        assert not came[entry]["events"], "something was run"
        assert came[entry]["mb"] < MB
        assert came[entry]["seconds"] < SECONDS


def test_the_watch_sees_what_is_run(tmp_path, monkeypatch):
    code = (
        "import os, pickle, pathlib\n"
        "from checkpoints import hostile_child as c\n"
        "w = c.Watch()\n"
        "def run(path): pickle.loads(path.read_bytes())\n"
        "for i, data in enumerate(__import__('json').loads(os.environ['DATA'])):\n"
        "    p = pathlib.Path(f'{i}.pkl'); p.write_bytes(bytes.fromhex(data))\n"
        "    r = c.judge(run, p, w); print(len(r['events']), r['events'][-1])\n"
    )
    names = ("os.system by GLOBAL, protocol 2", "os.system before a network", "INST")
    first, _, last = (hostile.ATTACKS[name]().data.hex() for name in names)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": PYTHONPATH, "DATA": json.dumps([first, last])},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and all(line.endswith("the canary") for line in lines)
    assert all(int(line.split()[0]) >= 3 for line in lines)


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: path.name)
def test_truncated(fixture, tmp_path):
    path, size = tmp_path / fixture.name, fixture.stat().st_size
    path.write_bytes(fixture.read_bytes())
    open_checkpoint(path)
    for percent in range(99, -1, -1):
        os.truncate(path, size * percent // 100)
        with pytest.raises(CheckpointError) as caught:
            open_checkpoint(path)
        assert type(caught.value) is CheckpointError
        message = str(caught.value)
        assert message.isprintable() and len(message) - len(str(path)) < 300
        assert (
            "the file ends too early; copy or download it again" in message
            or percent == 0
            and "empty" in message
        )


def test_garbage_is_collected_afterwards(tmp_path):
    path = tmp_path / "hostile.pkl"
    path.write_bytes(hostile.ATTACKS["INST"]().data)
    for file in (path, hostile.FIXTURES / "sg2-32.pkl"):
        with contextlib.suppress(CheckpointError):
            open_checkpoint(file)
        assert gc.isenabled()


def test_folders(tmp_path):
    with pytest.raises(UserError, match="expected the folder of a run"):
        stylegan.load_networks(tmp_path)
    with pytest.raises(UserError, match="there is no such"):
        stylegan.load_networks(tmp_path / "missing.pkl")


def test_a_file_that_shrinks(tmp_path):
    path = tmp_path / "network.pkl"
    path.write_bytes((hostile.FIXTURES / "sg2-32.pkl").read_bytes())
    networks = stylegan.load_networks(path, "cpu")
    os.truncate(path, 1000)
    with pytest.raises(CheckpointError, match="has shrunk since it was opened"):
        _ = networks.G_ema
