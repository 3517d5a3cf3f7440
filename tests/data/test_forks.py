# SPDX-License-Identifier: Apache-2.0
"""Processes that are forked after a threaded op: OpenMP's threads do not exist in them, and an op
that waits for these never ends. Loading and converting data must."""

import multiprocessing
import os
import subprocess
import sys

import pytest
from support.pictures import encoded, picture

LIMIT_SECONDS = 120  # of which it takes a few

BEGIN = """
import multiprocessing, os, sys
import torch

multiprocessing.set_start_method("fork")
def threaded_op():
    return torch.ones(1 << 20).sin().sum()
threaded_op()
assert torch.get_num_threads() == 2
folder, out = sys.argv[1:]
"""
LOADER = """
from stylegan.data.dataset import ImageDataset
from stylegan.data.loader import Batches
data, here = ImageDataset(folder), os.getpid()
pixels = data.pixels
def read(i):
    assert os.getpid() != here
    threaded_op()
    return pixels(i)
data.pixels = read
batches = Batches(data, 4, 1, False, 0, workers=2, pin_memory=False, warn=print)
for _ in range(3):
    assert len(next(batches)[0]) == 4
batches.close()
threaded_op()
"""
DATASET = """
from stylegan.data.preparation import prepare
assert prepare(folder, out, size=(8, 8), workers=2).written == 6
threaded_op()
"""


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="processes are not forked here"
)
@pytest.mark.parametrize("code", [LOADER, DATASET], ids=["loader", "dataset"])
def test_processes_forked_after_a_threaded_op_end(code, tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(6):
        (tmp_path / "in" / f"{i}.png").write_bytes(encoded(picture(seed=i)))
    arguments = [str(tmp_path / "in"), str(tmp_path / "out.zip")]
    command = [sys.executable, "-c", BEGIN + code, *arguments]
    env = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, env=env, timeout=LIMIT_SECONDS, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
