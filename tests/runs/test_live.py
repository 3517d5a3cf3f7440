# SPDX-License-Identifier: Apache-2.0
"""A run can be read while it writes and deletes snapshots."""

import shutil
import threading

import pytest
import torch
from support.tiny import tiny

from stylegan import snapshots
from stylegan.errors import SnapshotError
from stylegan.models import build
from stylegan.networks import Networks, load_networks
from stylegan.runs.snapshot import write_snapshot
from stylegan.snapshots import snapshots_of

CONFIG = tiny()


@pytest.fixture(scope="module")
def G():
    torch.manual_seed(0)
    return build.build_generator(CONFIG.G).eval()


def write(run_dir, G, kimg, keep=1):
    """A snapshot whose weights show its kimg."""
    with torch.no_grad():
        G.mapping.w_avg.fill_(kimg)
    return write_snapshot(run_dir, Networks(CONFIG, {"kimg": kimg}, G_ema=G), {}, keep)


def test_snapshots_are_read_while_they_are_written_and_deleted(tmp_path, G):
    stop, errors = threading.Event(), []
    write(tmp_path, G, 0.001)

    def train():
        kimg = 0.001
        try:
            while not stop.is_set():
                kimg += 0.001
                write(tmp_path, G, round(kimg, 3))
                stop.wait(0.02)  # as fast as a reader that may lose 19 times can follow
        except Exception as e:
            errors.append(e)

    thread = threading.Thread(target=train)
    thread.start()
    try:
        seen = set()
        for _ in range(25):
            nets = load_networks(tmp_path, "cpu")
            kimg = nets.meta["kimg"]
            assert torch.allclose(nets.G_ema.mapping.w_avg, torch.tensor(kimg))
            assert nets.folder.name == f"{kimg:010.3f}"
            seen.add(kimg)
    finally:
        stop.set()
        thread.join()
    assert errors == [] and len(seen) > 3


def test_a_snapshot_that_is_deleted_while_it_is_read(tmp_path, G, monkeypatch):
    """At the worst moments: after it was found, and after its weights were read."""
    read_json, moments = snapshots.read_json, []

    def read(path):
        content = read_json(path)
        if len(moments) < 2:
            moments.append(path.parent)
            write(tmp_path, G, 2.0 + len(moments))
            assert not path.parent.exists()
        return content

    write(tmp_path, G, 1.0)
    monkeypatch.setattr("stylegan.snapshots.read_json", read)
    nets = load_networks(tmp_path, "cpu")
    assert nets.meta["kimg"] == 4.0 and len(moments) == 2
    assert torch.all(nets.G_ema.mapping.w_avg == 4)


def test_all_that_were_listed_are_gone(tmp_path, G, monkeypatch):
    first = write(tmp_path, G, 1.0)
    is_file, once = snapshots.Path.is_file, []

    def deleted(self):
        if self.parent == first and not once:
            once.append(tmp_path / "snapshots" / "000002.000")
            write(tmp_path, G, 2.0)
        return is_file(self)

    monkeypatch.setattr(snapshots.Path, "is_file", deleted)
    assert snapshots_of(tmp_path) == once != []


def test_what_is_needed_later_of_a_deleted_snapshot(tmp_path, G):
    write(tmp_path, G, 1.0)
    nets = load_networks(tmp_path, "cpu")
    shutil.rmtree(nets.folder)
    assert nets.G_ema is not None  # was read at once
    with pytest.raises(SnapshotError, match="has been deleted by the run; try again"):
        _ = nets.D


def test_a_damaged_snapshot_of_a_run_is_still_an_error(tmp_path, G):
    folder = write(tmp_path, G, 1.0)
    (folder / "G_ema.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(SnapshotError, match="damaged"):
        load_networks(tmp_path, "cpu")
