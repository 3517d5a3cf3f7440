# SPDX-License-Identifier: Apache-2.0
"""Something to see early: snapshots, sheets and reports of a run that has just begun."""

import pytest
from support.runs import trainer

from stylegan.runs import schedule
from stylegan.runs.schedule import Due
from stylegan.snapshots import snapshots_of


@pytest.fixture
def clock(monkeypatch):
    """The time, which only `clock.now += seconds` moves."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(schedule.time, "monotonic", lambda: Clock.now)
    return Clock


def due_at(clock, due, seconds, step=5, images_per_s=0):
    """When it is due within so many seconds, looked at every `step` seconds."""
    begun, times, seen = clock.now, [], 0
    while clock.now - begun < seconds:
        clock.now += step
        seen += images_per_s * step
        if due(seen):
            times.append((clock.now - begun, due.early(seen)))
            due.done(seen)
    return times


def test_the_time_between_two_grows(clock):
    times = due_at(clock, Due(200, 0, 15 * 60, trained=0), 3600)
    expected = [45, 105, 225, 465, 945, 1845, 2745]
    assert [t for t, _ in times] == expected
    assert [early for _, early in times] == [True] * 5 + [False] * 2


@pytest.mark.parametrize("trained, first", [(45, 60), (465, 480), (1e6, 900)])
def test_a_resumed_run_goes_on_with_the_times(clock, trained, first):
    assert due_at(clock, Due(200, 0, 15 * 60, trained=trained), 1000)[0][0] == first


def test_a_short_time_of_the_user_stands(clock):
    times = due_at(clock, Due(200, 0, 20, trained=0), 100)
    assert times == [(20, False), (40, False), (60, False), (80, False), (100, False)]


def test_what_is_due_by_kimg_is_not_early(clock):
    times = due_at(clock, Due(1, 0, 15 * 60, trained=0), 100, images_per_s=20)
    assert times == [(45, True), (50, False), (100, False)]


def run(clock, images, run_dir, steps, **fields):
    """Train with steps of 5 s. Returns: (snapshots after every step, the trainer)."""
    found = []

    def after_step(progress):
        if not found or progress.kimg > found[-1][0]:
            clock.now += 5
            found.append((progress.kimg, [s.name[-3:] for s in snapshots_of(t.run_dir)]))

    settings = dict(kimg=steps * 0.004, tick_kimg=0.004, grid_kimg=50, snapshot_kimg=200)
    t = trainer(images, run_dir, **{**settings, **fields})
    t.on_progress = after_step
    if snapshots_of(run_dir):
        t.resume_newest()
    t.run()
    return [names for _, names in found], t


def test_there_is_something_within_a_minute_and_early_snapshots_are_replaced(
    clock, images, tmp_path
):
    states, t = run(clock, images, tmp_path / "run", 24)
    first = next(i for i, names in enumerate(states) if names)
    assert first * 5 <= 60
    assert all(len(names) <= 1 for names in states)
    assert len({names[0] for names in states if names}) == 2
    assert [s.name for s in snapshots_of(t.run_dir)] == ["000000.096"]
    assert (t.run_dir / "report.html").is_file()
    assert len(list((t.run_dir / "samples").glob("0*.png"))) == 4  # at 0, twice, at the end


def test_early_snapshots_push_out_no_others(images, tmp_path):
    t = trainer(images, tmp_path / "run", keep=2)
    found = []
    for early in (False, False, True, True, False, True, False):
        t.model.images_seen += 4
        t.save_snapshot(early)
        found.append([int(s.name[-3:]) for s in snapshots_of(t.run_dir)])
    assert found == [[4], [4, 8], [4, 8, 12], [4, 8, 16], [8, 20], [8, 20, 24], [20, 28]]


def test_an_early_snapshot_that_a_run_is_resumed_from_is_replaced_too(images, tmp_path):
    t = trainer(images, tmp_path / "run", kimg=0.008)
    first = t.save_snapshot(early=True)
    t = trainer(images, tmp_path / "run", kimg=0.008)
    t.resume_newest()
    t.run()
    assert [s.name for s in snapshots_of(t.run_dir)] == ["000000.008"] and not first.exists()


def test_no_snapshots_by_time_means_no_early_ones(clock, images, tmp_path):
    states, _ = run(clock, images, tmp_path / "run", 24, snapshot_minutes=None)
    assert not any(states)


def test_the_last_snapshot_of_a_run_is_not_early(clock, images, tmp_path):
    """A resumed run keeps it."""
    run(clock, images, tmp_path / "run", 2)
    _, t = run(clock, images, tmp_path / "run", 4)
    assert [s.name for s in snapshots_of(t.run_dir)] == ["000000.008", "000000.016"]
