# SPDX-License-Identifier: Apache-2.0
"""Commands that need no torch do not import it, which takes longer than all that they do."""

import json
import os
import subprocess
import sys
import time

import pytest
from support.pictures import encoded, picture

from stylegan.cli.main import COMMANDS

WALK = """
import contextlib, io, json, sys
from stylegan.cli.main import program

done = []
for args in json.loads(sys.argv[1]):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            program(args)
        except SystemExit as e:
            code = e.code
    heavy = [name for name in ("torch", "numpy") if name in sys.modules]
    done.append([" ".join(args), code, heavy, out.getvalue()])
print(json.dumps(done))
"""

HELP = [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)]
RUNS = [["runs"], ["runs", "--json"], ["runs", "--report"], ["runs", "runs/00000-photos"]]
WRONG = [
    ["nothing"],
    ["train", "--nothing"],
    ["train", "--data", "nothere"],
    ["train", "--resume", "nothere"],
    ["train", "--init-from", "nothere.pkl"],
    ["generate"],
    ["generate", "nothere"],
    ["generate", "photos"],
    ["generate", "runs", "--seeds", "x"],
    ["mix", "nothere"],
    ["video", "nothere"],
    ["metrics", "nothere", "--metrics", "eqt"],
    ["spectra", "nothere"],
    ["convert", "nothere", "x.pkl"],
    ["info", "nothere"],
    ["info", "nothere.pkl"],
    ["runs", "nothere"],
]
OF_IMAGES = [
    ["info", "photos"],
    ["dataset", "photos", "out.zip", "--workers", "0"],
    ["dataset", "nothere", "other.zip"],
]


def walk(folder, commands):
    """[(command line, exit code, heavy modules so far, output)], in one process."""
    command = [sys.executable, "-c", WALK, json.dumps(commands)]
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return [tuple(row) for row in json.loads(made.stdout)]


@pytest.fixture
def folder(tmp_path):
    """A folder with a run and with images."""
    for number in range(4):
        path = tmp_path / "photos" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded(picture((16, 16), seed=number)))
    samples = tmp_path / "runs" / "00000-photos" / "samples"
    samples.mkdir(parents=True)
    (samples / "000001.000.png").write_bytes(encoded(picture((16, 16), seed=9)))
    (samples.parent / "log.jsonl").write_text('{"kimg": 1.0, "loss/G": 1.0, "seconds": 9.0}\n')
    return tmp_path


@pytest.mark.parametrize("commands, code", [(HELP, 0), (RUNS, 0), (WRONG, 2)])
def test_neither_torch_nor_numpy(folder, commands, code):
    for line, got, heavy, out in walk(folder, commands):
        assert (got, heavy) == (code, []), f"{line}: {out}"


def test_no_torch_for_images(folder):
    rows = walk(folder, OF_IMAGES)
    assert [(line, heavy) for line, _, heavy, _ in rows if "torch" in heavy] == []
    assert [code for _, code, _, _ in rows] == [0, 0, 2], rows


def test_completion(folder):
    environment = {"_STYLEGAN_COMPLETE": "bash_complete", "COMP_WORDS": "stylegan runs --"}
    script = """
import atexit, sys
atexit.register(lambda: print("heavy", "torch" in sys.modules, "numpy" in sys.modules))
from stylegan.cli.main import program
program()
"""
    made = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**os.environ, **environment, "COMP_CWORD": "2"},
        capture_output=True,
        text=True,
    )
    assert "plain,--json" in made.stdout and "heavy False False" in made.stdout


def test_runs_takes_little_longer_than_python(folder):
    """Torch alone takes more than ten times as long as the smallest program with click."""

    def seconds(script):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", script], cwd=folder, check=True, capture_output=True)
        return time.perf_counter() - begun

    command = "from stylegan.cli.main import program; program(['runs'])"
    pairs = [(seconds(command), seconds("import click, json")) for _ in range(3)]
    assert min(run / least for run, least in pairs) < 6, pairs
