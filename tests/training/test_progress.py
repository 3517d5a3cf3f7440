# SPDX-License-Identifier: Apache-2.0
"""`on_progress`: what a caller sees of a run, and how it stops one."""

import pytest
from support.runs import lines, trainer

from stylegan.networks import load_networks
from stylegan.runs.progress import RunProgress
from stylegan.snapshots import snapshots_of


def test_it_is_called_at_every_line_and_after_every_sheet(images, tmp_path):
    seen: list[RunProgress] = []
    t = trainer(images, tmp_path / "run", tick_kimg=0.016)
    t.on_progress = seen.append  # returns None, which goes on
    t.run()
    # Sheets at 0, 20, 40 and 48 images, lines at 4 (the first is early), 16, 32 and 48.
    assert [round(p.kimg * 1000) for p in seen] == [0, 4, 16, 20, 32, 40, 48, 48]
    assert all(p.target_kimg == 0.048 for p in seen)
    assert [p.sheet.name for p in seen[2:4]] == ["000000.000.png", "000000.020.png"]
    assert all(p.sheet.is_file() for p in seen)
    assert (seen[0].seconds_left, seen[0].images_per_s, seen[0].losses) == (None, 0, {})
    assert seen[1].seconds_left > 0 and seen[-1].seconds_left == 0
    log = lines(t.run_dir)
    assert seen[4].images_per_s == pytest.approx(log[2]["images_per_s"], rel=1e-4)
    assert seen[4].losses["G"] == pytest.approx(log[2]["loss/G"], rel=1e-4)
    assert set(seen[-1].losses) == {"G", "D", "path_length"}
    seconds = [p.seconds for p in seen]
    assert seconds == sorted(seconds) and seconds[-1] > 0


def test_the_time_left_ends_with_the_minutes(images, tmp_path):
    seen = []
    t = trainer(images, tmp_path / "run", kimg=1000, minutes=0.003)
    t.on_progress = seen.append
    t.run()
    assert max(p.seconds_left for p in seen[1:]) < 0.18


@pytest.mark.parametrize("stop_at, ends_at", [(0.008, 0.008), (0.02, 0.024)])
def test_false_stops_with_a_snapshot(images, tmp_path, stop_at, ends_at):
    """At a line at once, at a sheet after the next step, as after Ctrl-C."""
    tick = 0.004 if stop_at == 0.008 else 0.5
    t = trainer(images, tmp_path / "run", tick_kimg=tick, snapshot_kimg=1)
    t.on_progress = lambda p: p.kimg < stop_at
    last = t.run()
    assert t.stopped and t.kimg == ends_at and t.interrupt.signal is None
    assert load_networks(last, "cpu").meta["kimg"] == ends_at
    event = lines(t.run_dir, events=True)[-1]
    assert event["event"] == "interrupted" and event["text"] == f"at {ends_at} kimg by the caller"
    again = trainer(images, tmp_path / "run")
    again.resume_newest()
    assert again.run().name == "000000.048"


def test_an_exception_in_it_ends_the_run_with_a_snapshot(images, tmp_path):
    def fails(progress):
        if progress.kimg >= 0.008:
            raise ZeroDivisionError("in the notebook")

    t = trainer(images, tmp_path / "run", snapshot_kimg=1)
    t.on_progress = fails
    with pytest.raises(ZeroDivisionError):
        t.run()
    assert [s.name for s in snapshots_of(t.run_dir)] == ["000000.008"]
    event = lines(t.run_dir, events=True)[-1]
    assert (event["event"], event["text"]) == ("failed", "in the notebook")
