# SPDX-License-Identifier: Apache-2.0
import os
import shutil
import subprocess
import sys
from contextlib import suppress

import pytest
import torch
from support.cases import by_tier
from support.runs import lines, trainer

from stylegan import UserError
from stylegan.errors import SnapshotError
from stylegan.networks import Networks
from stylegan.runs import folder, schedule
from stylegan.runs import snapshot as snapshots
from stylegan.snapshots import snapshots_of
from stylegan.training import saving
from stylegan.training.ticks import Ticks


def names(run_dir):
    return [p.name for p in snapshots_of(run_dir)]


def full(*args, **kwargs):
    raise OSError(28, "No space left on device")


def warnings(t):
    return [e["text"] for e in lines(t.run_dir, events=True) if e["event"] == "warning"]


@pytest.mark.parametrize("keep, kept", [(1, ["12"]), (2, ["08", "12"]), (None, ["04", "08", "12"])])
def test_the_newest_are_kept(images, tmp_path, keep, kept):
    t = trainer(images, tmp_path / "run", kimg=0.012, snapshot_kimg=0.004, keep=keep)
    t.run()
    assert names(t.run_dir) == [f"000000.0{n}" for n in kept]
    assert {p.name for p in (t.run_dir / "snapshots").iterdir()} == set(names(t.run_dir))


def test_by_time(images, tmp_path, monkeypatch):
    t = trainer(images, tmp_path / "run", kimg=0.016, snapshot_kimg=100, snapshot_minutes=1)
    clock = iter(range(0, 10_000_000, 7))  # every look at it is 7 s later
    monkeypatch.setattr(schedule.time, "monotonic", lambda: next(clock))
    t.run()
    assert len(names(t.run_dir)) >= 2


def test_not_by_time(images, tmp_path, monkeypatch):
    t = trainer(images, tmp_path / "run", kimg=0.016, snapshot_kimg=100, snapshot_minutes=None)
    clock = iter(range(0, 10_000_000, 7000))
    monkeypatch.setattr(schedule.time, "monotonic", lambda: next(clock))
    t.run()
    assert names(t.run_dir) == ["000000.016"]


@by_tier(
    "function", quick=["networks.save_file", "log"], thorough=["torch.save", "os.fsync", "png"]
)
def test_a_full_disk_is_one_line_and_the_run_goes_on(
    images, tmp_path, monkeypatch, capfd, function
):
    monkeypatch.setattr(schedule, "RETRY_SECONDS", 0)
    t = trainer(images, tmp_path / "run", kimg=0.06, snapshot_kimg=0.02, grid_kimg=0.02)
    whole = trainer(images, tmp_path / "whole", kimg=0.06, snapshot_kimg=0.02, grid_kimg=0.02)
    whole.run()
    step = t.model.step

    def fill_and_empty(reals, c):
        if t.kimg == 0.012:
            patch = pytest.MonkeyPatch()
            target = {
                "torch.save": (snapshots.torch, "save"),
                "networks.save_file": (sys.modules["stylegan.snapshot_files"], "save_file"),
                "os.fsync": (os, "fsync"),
                "log": (t.record.log, "path", tmp_path / "nowhere" / "log.jsonl"),
                "png": (sys.modules["stylegan.runs.samples"], "save_image"),
            }[function]
            patch.setattr(*(target if len(target) == 3 else (*target, full)))
            fill_and_empty.patch = patch
        if t.kimg == 0.024:
            fill_and_empty.patch.undo()
        step(reals, c)

    monkeypatch.setattr(t.model, "step", fill_and_empty)
    t.run()
    out = capfd.readouterr()
    text = out.out + out.err
    assert text.count("training continues and tries again") == 1, text  # one line
    assert text.count("could be written again") == 1
    why = "No such file or directory" if function == "log" else "No space left on device"
    assert f"({why}); training continues and tries again" in text
    assert "Traceback" not in text
    assert names(t.run_dir)[-1] == "000000.060"
    assert all(p.name[0] != "." for p in (t.run_dir / "snapshots").iterdir())
    losses = [[line["loss/G"] for line in lines(r.run_dir)] for r in (t, whole)]
    assert losses[0] == losses[1] and len(losses[0]) == 15
    if function in ("torch.save", "networks.save_file"):
        assert names(t.run_dir)[0] == "000000.028"  # as soon as there was room
    if function == "png":
        assert (t.run_dir / "samples" / "000000.028.png").exists()


def test_the_log_keeps_lines_until_there_is_room(tmp_path):
    from stylegan.runs.log import RunLog

    log = RunLog(tmp_path)
    log.write({"kimg": 1.0})
    path, log.path = log.path, tmp_path / "nowhere" / "log.jsonl"
    for kimg in (2.0, 3.0):
        with pytest.raises(OSError):
            log.write({"kimg": kimg})
    log.path = path
    with path.open("a") as f:
        f.write('{"kimg": 2.0')  # half a line is what a full disk leaves
    log.write({"kimg": 4.0})
    assert [line["kimg"] for line in lines(tmp_path)] == [1, 2, 3, 4]
    log.path = tmp_path / "nowhere" / "log.jsonl"
    with pytest.raises(OSError):
        log.write({"kimg": 5.0})
    log.path = path
    log.sync()  # before a snapshot that says that it was logged
    assert [line["kimg"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5]


def test_the_log_is_cut_where_a_run_goes_on(tmp_path):
    from stylegan.runs.log import RunLog

    log = RunLog(tmp_path)
    for kimg in (1.0, 2.0, 3.0):
        log.write({"kimg": kimg})
        log.event(kimg, "warning", "x")
    RunLog(tmp_path, logged=1000, seen=2000).write({"kimg": 1.5})
    assert [line["kimg"] for line in lines(tmp_path)] == [1, 1.5]
    assert [line["kimg"] for line in lines(tmp_path, events=True)] == [1, 2]


def test_the_last_snapshot_waits_for_room(images, tmp_path, monkeypatch):
    t = trainer(images, tmp_path / "run", kimg=0.008)
    tries, save = iter(range(99)), Networks.save
    monkeypatch.setattr(Networks, "save", lambda *a: full() if next(tries) < 3 else save(*a))
    monkeypatch.setattr(saving.time, "sleep", lambda seconds: None)
    assert t.run().name == "000000.008" and next(tries) == 4


def test_a_real_full_disk(images, tmp_path):
    """A file system of 1 MB, where this process may make one."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    try:
        done = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        done = False
    if not done:
        pytest.skip("may not mount")
    try:
        t = trainer(images, small / "run", kimg=0.02)
        with (small / "ballast").open("wb", buffering=0) as f, suppress(OSError):
            while True:
                f.write(bytes(4096))
        for _ in range(2):
            with pytest.raises(OSError) as e:
                t.save_snapshot()
            assert e.value.errno == 28, e.value
        assert not snapshots_of(t.run_dir)
        (small / "ballast").unlink()
        assert t.save_snapshot().name == "000000.000"
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_leftovers_of_a_kill_are_cleared(images, tmp_path):
    t = trainer(images, tmp_path / "run", kimg=0.004)
    for name in ("snapshots/.part-000000.004-1", "snapshots/.old-000000.001"):
        (t.run_dir / name).mkdir(parents=True)
    (t.run_dir / ".report.html.1.part").write_text("")
    t.run()
    assert not list(t.run_dir.glob("snapshots/.*")) and not list(t.run_dir.glob(".*.part"))


def test_a_damaged_snapshot_is_set_aside(images, tmp_path):
    whole = trainer(images, tmp_path / "whole", kimg=0.016)
    whole.run()
    first = trainer(images, tmp_path / "run", kimg=0.012, snapshot_kimg=0.004)
    first.run()
    (first.run_dir / "snapshots/000000.012/D.safetensors").write_bytes(b"x")
    (first.run_dir / "snapshots/000000.008/training_state.pt").write_bytes(b"")
    t = trainer(images, tmp_path / "run", kimg=0.016)
    t.resume_newest()
    assert t.kimg == 0.004
    t.run()
    assert names(t.run_dir) == ["000000.004", "000000.016"]
    assert (t.run_dir / "snapshots" / "damaged-000000.012").is_dir()
    assert [w.endswith("the one before is taken") for w in warnings(t)] == [True, True]
    assert lines(t.run_dir)[-1]["loss/G"] == lines(whole.run_dir)[-1]["loss/G"]


def test_without_any_snapshot_it_begins_anew(images, tmp_path):
    whole = trainer(images, tmp_path / "whole", kimg=0.008)
    whole.run()
    first = trainer(images, tmp_path / "run", kimg=0.008, snapshot_minutes=None)
    first.run()
    shutil.rmtree(first.run_dir / "snapshots")
    t = trainer(images, tmp_path / "run", kimg=0.008)
    t.resume_newest()
    t.run()
    assert len(lines(t.run_dir)) == 2
    assert lines(t.run_dir)[-1]["loss/D"] == lines(whole.run_dir)[-1]["loss/D"]


def test_a_state_of_another_kind(images, tmp_path):
    t = trainer(images, tmp_path / "run")
    snapshot = t.save_snapshot()
    state = snapshots.read_state(snapshot)
    del state["step"]["finite"]
    torch.save(state, snapshot / snapshots.STATE)
    for resume in (lambda: t.resume(snapshot), t.resume_newest):
        with pytest.raises(UserError, match="training_state.pt is of another version"):
            resume()
    assert snapshots_of(t.run_dir) == [snapshot]


def test_out_of_memory_is_no_damage(images, tmp_path, monkeypatch):
    t = trainer(images, tmp_path / "run", kimg=0.004)
    t.run()

    def full(state):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(t.model, "load_state_dict", full)
    with pytest.raises(torch.OutOfMemoryError):
        t.resume_newest()
    assert names(t.run_dir) == ["000000.004"]


def test_a_snapshot_that_lacks_a_network(images, tmp_path):
    first = trainer(images, tmp_path / "run", kimg=0.008, snapshot_kimg=0.004)
    first.run()
    for _ in range(2):  # the second time there is one of that name aside already
        (first.run_dir / "snapshots/000000.008/G_ema.safetensors").unlink()
        t = trainer(images, tmp_path / "run", kimg=0.008)
        t.resume_newest()
        assert t.kimg == 0.004
        t.run()
    damaged = sorted(p.name for p in first.run_dir.glob("snapshots/d*"))
    assert damaged == ["damaged-000000.008", "damaged-000000.008-2"]


def test_a_kill_while_a_snapshot_takes_the_place_of_another(images, tmp_path, monkeypatch):
    t = trainer(images, tmp_path / "run", kimg=0.004)
    t.run()
    target = t.run_dir / "snapshots" / "000000.004"
    target.rename(target.with_name(".aside-000000.004"))
    snapshots.clean(t.run_dir)
    assert names(t.run_dir) == ["000000.004"]
    assert t.save_snapshot() == target and list(target.parent.iterdir()) == [target]


def test_folders_of_other_names_are_no_snapshots(images, tmp_path):
    t = trainer(images, tmp_path / "run", kimg=0.012, snapshot_kimg=0.004, keep=1)
    first = t.save_snapshot()
    shutil.copytree(first, first.with_name("000000.000-backup"))
    t.run()
    assert names(t.run_dir) == ["000000.012"]
    assert (first.parent / "000000.000-backup").is_dir()


def test_other_errors_of_a_library_are_not_hidden(images, tmp_path, monkeypatch):
    t = trainer(images, tmp_path / "run")

    def fail(*args):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(snapshots.torch, "save", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        t.save_snapshot()
    assert not list((t.run_dir / "snapshots").iterdir())


def test_nothing_is_set_aside_where_nothing_can_be_read(images, tmp_path):
    t = trainer(images, tmp_path / "run", kimg=0.008, snapshot_kimg=0.004)
    t.run()
    for snapshot in snapshots_of(t.run_dir):
        (snapshot / "G.safetensors").write_bytes(b"")
    t = trainer(images, tmp_path / "run", kimg=0.016)
    with pytest.raises(SnapshotError, match="000000.008/G.safetensors: does not fit"):
        t.resume_newest()
    assert names(t.run_dir) == ["000000.004", "000000.008"]


def test_two_processes_do_not_train_in_one_folder(images, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "LOCK_SECONDS", 0.1)
    t = trainer(images, tmp_path / "run")
    code = "import sys, filelock; held = filelock.FileLock(sys.argv[1]); held.acquire(); "
    code += "print(1, flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(t.run_dir / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        other.stdout.readline()
        assert folder.is_locked(t.run_dir)
        for action in (t.run, t.resume_newest):
            with pytest.raises(UserError, match="another process trains there"):
                action()
    finally:
        other.kill()  # as a crash: the system releases the lock
        other.wait()
    assert not folder.is_locked(t.run_dir)
    t.run()


def test_an_error_between_two_steps_saves_what_is_whole(images, tmp_path, monkeypatch):
    t = trainer(images, tmp_path / "run", snapshot_minutes=None, snapshot_kimg=100)
    write = Ticks.write

    def fail(self, *args):
        if t.kimg == 0.012:
            raise ValueError("something\nodd")
        return write(self, *args)

    monkeypatch.setattr(Ticks, "write", fail)
    with pytest.raises(ValueError):
        t.run()
    assert names(t.run_dir) == ["000000.012"]
    assert lines(t.run_dir, events=True)[-1]["text"] == "something odd"


def test_an_error_in_a_step_saves_nothing(images, tmp_path, monkeypatch):
    t = trainer(images, tmp_path / "run", snapshot_kimg=0.008)
    r1 = t.model.d_main

    def fail(reals, c):
        if t.kimg == 0.012:
            raise RuntimeError("out of memory")
        r1(reals, c)

    monkeypatch.setattr(t.model, "d_main", fail)
    with pytest.raises(RuntimeError):
        t.run()
    assert names(t.run_dir) == ["000000.008"]


@pytest.mark.skipif(os.name != "posix", reason="permissions")
def test_run_folders(images, tmp_path):
    t = trainer(images, tmp_path / "run")
    made = [folder.new_run_dir(tmp_path / "runs", "a b/ü", t.config, {"x": 1}) for _ in range(2)]
    assert [p.name for p in made] == ["00000-a-b-ü", "00001-a-b-ü"]
    assert folder.runs_of(tmp_path / "runs") == made
    about = folder.read_about(made[1])
    assert about["config"] == t.config and about["x"] == 1
    (made[0] / "run.json").write_text('{"format": "stylegan-run", "version": 2}')
    with pytest.raises(UserError, match="not the description of a run"):
        folder.read_about(made[0])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot make a run folder there"):
        folder.new_run_dir(tmp_path / "file", "x", t.config, {})
