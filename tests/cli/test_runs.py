# SPDX-License-Identifier: Apache-2.0
import json
import math
from datetime import datetime, timezone

import pytest
from support.tiny import tiny

from stylegan.runs.folder import lock, new_run_dir


def make(outdir, *lines, name="photos", kimg=25000, **fields):
    """A run folder with that log."""
    run_dir = new_run_dir(outdir, name, tiny(kimg=kimg, **fields), {"device": "cpu"})
    (run_dir / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run_dir


def metric(kimg, **more):
    return {"kimg": kimg, "seconds": 3700.0, "images_per_s": 98.76, "loss/G": 1.25, **more}


FINISHED = {"kimg": 120.0, "time": "", "event": "finished", "text": ""}


def test_a_row_per_run_with_the_newest_last(run, tmp_path):
    make(tmp_path / "runs", metric(120.0, **{"loss/D": math.nan}), FINISHED)
    make(tmp_path / "runs", metric(2.5), name="a-much-longer-name", kimg=8)
    (tmp_path / "runs" / "00002-notes").mkdir()  # no run
    (tmp_path / "runs" / "00100000-new").mkdir()
    (tmp_path / "runs" / "00100000-new" / "log.jsonl").write_text("")
    code, out, err = run("runs")
    assert code == 0, err
    heading, *rows = out.splitlines()
    assert [row.split()[0] for row in rows] == [
        "00000-photos",
        "00001-a-much-longer-name",
        "00100000-new",
    ]
    assert rows[0].split()[1:8] == ["finished", "120/25000", "98.8", "32.4", "1.250", "nan", "1:01"]
    assert rows[1].split()[1:6] == ["killed", "2.5/8", "98.8", "0.7", "1.250"]
    assert rows[2].split()[1:3] == ["new", "0"]
    for column in ("kimg", "img/s", "loss G", "trained"):  # numbers end where their heading ends
        end = heading.index(column) + len(column)
        assert all(row[end : end + 1] in ("", " ") for row in rows)
        assert rows[0][end - 1] != " " and rows[1][end - 1] != " "
    assert heading.index("state") == rows[0].index("finished") == rows[1].index("killed")


def test_one_run_and_another_folder(run, tmp_path):
    run_dir = make(tmp_path / "elsewhere", metric(2.0))
    make(tmp_path / "elsewhere", metric(2.0))
    for folder, count in ((run_dir, 1), (f"{run_dir}/", 1), (tmp_path / "elsewhere", 2)):
        code, out, _ = run("runs", folder)
        assert code == 0 and len(out.splitlines()) == 1 + count
        assert out.splitlines()[1].startswith("00000-photos")


def test_json(run, tmp_path):
    make(tmp_path / "runs", metric(120.0, **{"loss/D": math.nan}), FINISHED)
    code, out, _ = run("runs", "--json")
    (row,) = json.loads(out, parse_constant=pytest.fail)
    assert code == 0 and row.pop("written")[:2] == "20"
    assert row == {
        "run": "00000-photos",
        "folder": "runs/00000-photos",
        "state": "finished",
        "kimg": 120.0,
        "target_kimg": 25000.0,
        "images_per_s": 98.76,
        "mean_images_per_s": 120_000 / 3700,
        "loss_G": 1.25,
        "loss_D": None,
        "seconds": 3700.0,
        "seconds_left": None,
        "damage": None,
    }


def test_the_time_left_of_a_running_run(run, tmp_path):
    """At its mean speed, and not longer than --minutes."""
    begun = datetime.now(timezone.utc).isoformat(timespec="seconds")
    started = {"kimg": 0.0, "time": begun, "event": "started", "text": ""}
    free = make(tmp_path / "runs", started, metric(37.0), kimg=74)
    bound = make(tmp_path / "runs", started, metric(37.0), kimg=74, minutes=30)
    with lock(free), lock(bound):
        code, out, _ = run("runs")
    heading, *rows = out.splitlines()
    end = heading.index("left") + len("left")
    assert code == 0 and [row[end - 4 : end] for row in rows] == ["1:01", "0:29"]
    assert [row.split()[3:5] for row in rows] == [["98.8", "10.0"]] * 2


def test_a_damaged_run_is_a_row(run, tmp_path, monkeypatch):
    make(tmp_path / "runs", metric(1.0))
    bad = make(tmp_path / "runs", metric(2.0))
    (bad / "run.json").write_text("{")
    (make(tmp_path / "runs") / "log.jsonl").write_bytes(b"\0\xff\x1b[2J\n" * 9)
    code, out, err = run("runs")
    assert code == 0, err
    assert [line.split()[1] for line in out.splitlines()[1:4]] == ["killed", "damaged", "killed"]
    assert "00001-photos/run.json: line 1" in out.splitlines()[4]

    def broken(*args, **options):
        raise RuntimeError("boom \x1b[2J")

    monkeypatch.setattr("stylegan.runs.history.read_run", broken)
    code, out, _ = run("runs")
    assert code == 0 and out.count("damaged") == 3 and "boom \\x1b[2J" in out and "\x1b" not in out


def test_report(run, tmp_path):
    dirs = [make(tmp_path / "runs", metric(1.0)) for _ in range(2)]
    code, out, _ = run("runs", "--report")
    assert code == 0 and all((d / "report.html").stat().st_size > 10_000 for d in dirs)
    assert "report: runs/00001-photos/report.html" in out.splitlines()
    (dirs[0] / "report.html").unlink()
    (dirs[0] / "report.html" / "in the way").mkdir(parents=True)
    code, out, err = run("runs", "--report", "--json")
    assert code == 1 and err.startswith("runs/00000-photos: report.html cannot be written (")
    assert err.count("\n") == 1
    assert [row.get("report") for row in json.loads(out)] == [
        None,
        "runs/00001-photos/report.html",
    ]


@pytest.mark.parametrize("args", [[], ["nothing"], ["empty"], ["file"]])
def test_no_runs_is_one_line_and_exit_code_2(run, tmp_path, args):
    (tmp_path / "empty" / "other").mkdir(parents=True)
    (tmp_path / "file").write_text("hello")
    code, out, err = run("runs", *args)
    assert code == 2 and out == "" and err.count("\n") == 1
    assert err.startswith(f"stylegan: {args[0] if args else 'runs'}: ") and "stylegan train" in err
