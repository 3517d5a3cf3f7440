# SPDX-License-Identifier: Apache-2.0
import json
import math
import os
import subprocess
import sys
import time

import pytest
from support.tiny import tiny

from stylegan.runs.folder import lock, new_run_dir
from stylegan.runs.history import TAIL, looks_like_run, read_run
from stylegan.words import hours, short

STARTED = {"kimg": 0.0, "time": "2026-11-22T23:50:00+00:00", "event": "started", "text": "here"}


def metric(kimg, **more):
    return {"kimg": kimg, "seconds": kimg * 10, "images_per_s": 100.0, "loss/G": 1.0, **more}


def event(name, kimg=4.0, text="so"):
    return {"kimg": kimg, "time": "2026-11-22T23:50:00+00:00", "event": name, "text": text}


def write_log(run_dir, *lines):
    """A log of dictionaries, or of what is no JSON as it is."""
    run_dir.mkdir(exist_ok=True)
    data = [x if isinstance(x, bytes) else json.dumps(x).encode() + b"\n" for x in lines]
    (run_dir / "log.jsonl").write_bytes(b"".join(data))
    return run_dir


@pytest.fixture
def run_dir(tmp_path):
    return new_run_dir(tmp_path, "photos", tiny(kimg=8), {"device": "cpu"})


@pytest.mark.parametrize(
    "lines, state",
    [
        ([], "new"),
        ([STARTED, metric(2)], "killed"),
        ([STARTED, metric(2), event("finished")], "finished"),
        ([STARTED, event("interrupted")], "interrupted"),
        ([STARTED, event("failed")], "failed"),
        ([STARTED, event("failed"), event("resumed"), metric(5)], "killed"),
        ([STARTED, metric(2), event("warning")], "killed"),
        ([STARTED, event("finished"), b'{"kimg": 4.0, "eve'], "killed"),
        ([STARTED, event("finished"), b"\n\n"], "finished"),
    ],
)
@pytest.mark.parametrize("tail", [False, True])
def test_state_by_the_end_of_the_log(run_dir, lines, state, tail):
    write_log(run_dir, *lines)
    assert read_run(run_dir, tail).state == state


def test_running_while_another_process_holds_the_folder(run_dir):
    write_log(run_dir, STARTED, metric(2))
    code = "import sys; from stylegan.runs.folder import lock\n"
    code += "held = lock(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    args = [sys.executable, "-c", code, str(run_dir)]
    with subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline().strip() == b"held"
        assert read_run(run_dir).state == "running"
        holder.kill()
    assert read_run(run_dir).state == "killed"


def test_ended_is_known_before_the_folder_is_let_go(run_dir):
    write_log(run_dir, STARTED, event("finished"))
    with lock(run_dir):
        run = read_run(run_dir)
    assert (run.state, run.ended) == ("running", "finished")


def test_what_a_run_tells(run_dir):
    log = [STARTED, metric(2, **{"loss/r1": 0.5}), event("warning", 2.0, "odd"), metric(4)]
    run = read_run(write_log(run_dir, *log))
    assert (run.kimg, run.target_kimg, run.damage) == (4.0, 8.0, None)
    assert run.about["device"] == "cpu" and run.about["config"] == tiny(kimg=8)
    assert run.metrics == [log[1], log[3]] and run.events == [log[0], log[2]]
    assert run.last == {**metric(4), "loss/r1": 0.5}  # the newest of every name
    assert abs(run.written - time.time()) < 60


def test_numbers_that_are_none_and_none_that_are_numbers(run_dir):
    odd = {"kimg": 2, "a": math.nan, "b": math.inf, "c": "1", "d": None, "e": True, "f": [1]}
    run = read_run(write_log(run_dir, odd, {"kimg": math.nan, "a": 1.0}, {"a": 1.0}))
    assert len(run.metrics) == 1 and set(run.last) == {"kimg", "a", "b"}
    assert math.isnan(run.last["a"]) and run.last["b"] == math.inf


def test_torn_and_garbage_lines_are_left_out(run_dir):
    torn = json.dumps(metric(6)).encode()[:30]
    garbage = [b"\0" * 50 + b"\n", b"\xff\xfe{\n", b"[1]\n", b"7\n", b"[" * 9000 + b"\n", b"\n"]
    huge = b'{"kimg": 3.0, "a": 1' + b"0" * 400 + b"}\n"
    run = read_run(write_log(run_dir, metric(2), *garbage, huge, metric(4), torn))
    assert [line["kimg"] for line in run.metrics] == [2.0, 3.0, 4.0] and run.events == []
    odd = {"event": "warning", "kimg": "x", "text": {"a": 1}}
    assert read_run(write_log(run_dir, odd)).events == [
        {"event": "warning", "kimg": None, "text": "{'a': 1}", "time": ""}
    ]


def test_the_tail_of_a_large_log(run_dir):
    write_log(run_dir, STARTED, *(metric(i / 8) for i in range(100_000)), event("finished", 9e9))
    assert (run_dir / "log.jsonl").stat().st_size > 50 * TAIL
    begun = time.process_time()
    run = read_run(run_dir, tail=True)
    assert time.process_time() - begun < 0.2
    assert run.state == "finished" and run.last["kimg"] == 99_999 / 8
    assert 100 < len(run.metrics) < 2000 and run.events[0]["event"] == "finished"
    write_log(run_dir, metric(2), b"x" * (2 * TAIL))
    assert read_run(run_dir, tail=True).state == "killed"


def test_older_runs_have_no_description(tmp_path):
    run_dir = write_log(tmp_path / "00000-old", metric(2))
    assert read_run(run_dir).about is None and read_run(run_dir).target_kimg is None
    for name, kimg in (("000002.000", 2.0), ("000004.000", 4.0)):
        snapshot = run_dir / "snapshots" / name
        snapshot.mkdir(parents=True)
        content = {"kimg": kimg, "config": tiny(kimg=4).to_dict()}
        (snapshot / "config.json").write_text(json.dumps(content))
    run = read_run(run_dir)
    assert run.target_kimg == 4 and run.damage is None and run.state == "killed"
    assert run.about["kimg"] == 4.0 and run.about["config"] == tiny(kimg=4)
    assert read_run(write_log(run_dir, metric(2), metric(4))).state == "finished"
    os.remove(run_dir / "log.jsonl")
    assert read_run(run_dir).kimg == 4.0 and read_run(run_dir).state == "new"
    (snapshot / "config.json").write_text("{}")
    assert read_run(run_dir).about["kimg"] == 2.0  # the next one that can be read


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}', "[" * 9000])
def test_a_damaged_description(run_dir, text):
    (run_dir / "run.json").write_text(text)
    run = read_run(write_log(run_dir, STARTED, metric(2)))
    assert run.about is None and "run.json" in run.damage and "\n" not in run.damage
    assert run.state == "killed" and run.kimg == 2


def test_a_folder_with_nothing(tmp_path):
    run = read_run(tmp_path / "nothing")
    assert (run.state, run.kimg, run.about, run.damage, run.last) == ("new", 0.0, None, None, {})


def test_looks_like_run(run_dir, tmp_path):
    assert looks_like_run(run_dir) and not looks_like_run(tmp_path)
    assert looks_like_run(write_log(tmp_path / "old"))
    assert not looks_like_run(tmp_path / "nothing")


def test_words():
    values = [0, 0.016, 2.5, 120, 120.04, 1234.5, 25000.0, 1e6]
    assert [short(v) for v in values] == "0 0.016 2.5 120 120 1234 25000 1000000".split()
    assert [hours(s) for s in (0, 61, 3600, 360_059)] == ["0:00", "0:01", "1:00", "100:00"]
    assert hours(math.nan) == "?"
