# SPDX-License-Identifier: Apache-2.0
"""`info` of a data set: it finds what `dataset` finds, writes nothing unasked, and shows every
class."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from support.deep_images import encoded_deep
from support.pictures import encoded, picture

from stylegan.cli import info
from stylegan.data.source import Problem


def ok(result):
    code, out, err = result
    assert code == 0, err
    return out


def fill(folder, count, size=(16, 16), **extra):
    """A folder of PNGs 000.png, ...; extra: {name with _ for the dot: bytes}."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"{i:03d}.png").write_bytes(encoded(picture(size, seed=i)))
    for name, data in extra.items():
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder


def problems_of_info(run, *args):
    return json.loads(ok(run("info", *args, "--json"))).get("problems", [])


def problems_of_dataset(run, *args):
    out = ok(run("dataset", *args))
    lines = out.partition("not used")[2].splitlines()[1:]
    lines = lines[: lines.index("")] if lines else []
    return [str(Problem(*line.split(maxsplit=1))) for line in lines]


WHOLE = encoded(picture((64, 64)))
CUT = encoded(picture((64, 64)), "JPEG")[:900]
BOMB = WHOLE.replace((64).to_bytes(4, "big") * 2, (60_000).to_bytes(4, "big") * 2)
BAD = {
    "a_png": b"",
    "b_png": b"hello",
    "c_png": b"<!DOCTYPE html><html>",
    "d_jpg": CUT,
    "e_png": WHOLE[:-3000],
    "f_png": BOMB,
    "g_heic": b"x",
    "h_zip": b"PK",
    "i_txt": b"x",
    "j_gif": encoded(picture(), "GIF")[:30],
}


def test_one_broken_file_of_many_is_found(run, tmp_path):
    """The survey of old looked at headers of some."""
    folder = fill(tmp_path / "pics", 300)
    names = [folder / f"{n:03d}.png" for n in (33, 177, 200)]
    for name, data in zip(names, (encoded(picture((16, 16)))[:-200], b"", b"text")):
        name.write_bytes(data)
    found = problems_of_info(run, "pics")
    assert [p.split(":")[0] for p in found] == ["033.png", "177.png", "200.png"]
    assert found == problems_of_dataset(run, "pics", "a.zip")


def mixed(tmp_path):
    fill(tmp_path / "pics" / "cats", 3, **BAD)
    fill(tmp_path / "pics" / "dogs", 3)
    (tmp_path / "pics" / "dogs" / "link.png").symlink_to("nothing")


def stray(tmp_path):
    for name in "ab":
        fill(tmp_path / "pics" / name, 8)
    fill(tmp_path / "pics", 1)


def partly_labelled(tmp_path):
    fill(tmp_path / "pics", 5, bad_png=b"", gone_png=b"")
    rows = [["000.png", 0], ["001.png", 1], ["bad.png", 1], ["nowhere.png", 1]]
    (tmp_path / "pics" / "dataset.json").write_text(json.dumps({"labels": rows}))


def one_of_16_bits(tmp_path):
    folder = fill(tmp_path / "pics", 300)
    deep = np.random.default_rng(0).integers(0, 4000, (16, 16)).astype(np.uint16)
    (folder / "007.png").write_bytes(encoded_deep(deep))  # not among the files looked at for it


@pytest.mark.skipif(sys.platform == "win32", reason="links")
@pytest.mark.parametrize("make", [mixed, stray, partly_labelled, one_of_16_bits])
def test_info_and_dataset_say_the_same_of_the_same_files(run, tmp_path, make):
    make(tmp_path)
    found = problems_of_info(run, "pics")
    assert found and found == problems_of_dataset(run, "pics", "out", "--resolution", "16")


@pytest.mark.skipif(sys.platform != "linux", reason="processes that kill themselves")
def test_a_file_that_kills_its_process(run, tmp_path, monkeypatch):
    import os

    from stylegan.data import decode

    look = decode.look

    def deadly(data, name):
        if name == "003.png":
            os.kill(os.getpid(), 9)
        return look(data, name)

    fill(tmp_path / "pics", 20)
    monkeypatch.setattr("stylegan.data.check.decode.look", deadly)
    monkeypatch.setattr("stylegan.data.survey.deep_images", lambda *a: None)
    assert problems_of_info(run, "pics") == ["003.png: kills the process that reads it"]


def test_how_many_were_looked_at(run, tmp_path, monkeypatch):
    fill(tmp_path / "pics", 40)
    out = ok(run("info", "pics", "--max-images", "10"))
    assert "sizes     16x16 px (10) (of 10 looked at)\n" in out and "images    40\n" in out
    assert "looked" not in ok(run("info", "pics"))
    assert "looked" not in ok(run("info", "pics", "--max-images", "40"))
    code, _, err = run("info", "pics", "--max-images", "0")
    assert code == 2 and err.count("\n") == 1


def test_ctrl_c_shows_what_was_found(run, tmp_path, monkeypatch):
    from stylegan.data import check

    whole = check.in_processes

    def interrupted(*args):
        results = whole(*args)
        yield from (next(results) for _ in range(3))
        results.close()
        raise KeyboardInterrupt

    fill(tmp_path / "pics", 20)
    (tmp_path / "pics" / "001.png").write_bytes(b"")
    monkeypatch.setattr(check, "in_processes", interrupted)
    code, out, err = run("info", "pics", "--sheet", "a.png")
    assert code == 130 and err.strip() == "stylegan: interrupted"
    assert "16x16 px (2) (of 3 looked at)" in out and "001.png: empty file" in out
    assert not (tmp_path / "a.png").exists()


def test_the_sheet_shows_every_class(run, tmp_path):
    for i in range(30):
        fill(tmp_path / "pics" / f"class {i:02d}", 2)
    args = ["info", "pics", "--sheet", "new/a.png"]
    assert "sheet     new/a.png\n" in ok(run(*args))
    with Image.open("new/a.png") as sheet:
        assert sheet.size == (6 * 128, 10 * 128)
    ok(run("info", "pics", "--sheet", "b.png", "--captions"))
    with Image.open("b.png") as sheet:
        assert sheet.width == 6 * 128 and sheet.height > 10 * 140
    code, _, err = run(*args)
    assert code == 2 and "new/a.png: already exists; --overwrite replaces it, --sheet writes" in err
    ok(run(*args, "--overwrite"))
    code, _, err = run("info", "pics", "--captions")
    assert code == 2 and "--captions goes with --sheet, which draws a contact sheet" in err


def test_a_network_has_no_images_to_look_at(run, places):
    code, _, err = run("info", places["net"], "--max-images", "3")
    assert code == 2 and "--max-images is for data sets; " in err and err.count("\n") == 1


def test_many_classes_are_not_all_listed(run, tmp_path):
    for i in range(103):
        fill(tmp_path / "pics" / f"{i:03d}", 1)
    line = next(r for r in ok(run("info", "pics")).splitlines() if r.startswith("classes"))
    assert line.endswith("099 (1), 3 more") and line.count("(1)") == 100
    assert len(json.loads(ok(run("info", "pics", "--json")))["classes"]) == 103


@pytest.mark.parametrize("columns", [50, 160])
def test_long_lines_on_a_terminal(monkeypatch, columns):
    """At 400 and 1280 px. In a pipe each row stays one line."""
    rows = {"classes": [f"class {i}" for i in range(40)], "problems": ["a" * 90, "b c " * 40]}
    plain = list(info._lines(rows))
    assert len(plain) == 3
    monkeypatch.setattr(info.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = list(info._lines(rows))
    assert " ".join(" ".join(lines).split()) == " ".join(" ".join(plain).split())
    assert all(len(line) <= columns for line in lines if "aaa" not in line)
    assert all(line[:10].strip() in ("", "classes", "problems") for line in lines)


def test_info_of_a_data_set_needs_no_pytorch(tmp_path):
    fill(tmp_path / "pics", 3)
    code = "import sys\nfrom stylegan.cli.main import program\n"
    code += "program(sys.argv[1:], standalone_mode=False)\nassert 'torch' not in sys.modules"
    args = ["info", "pics", "--sheet", "a.png"]
    result = subprocess.run(
        [sys.executable, "-c", code, *args], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 0 and "16x16 px (3)" in result.stdout, result.stderr
    assert (tmp_path / "a.png").is_file()
