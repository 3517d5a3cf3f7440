# SPDX-License-Identifier: Apache-2.0
import base64
import dataclasses
import hashlib
import io
import json
import math
import os
import re
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from support.tiny import tiny

from stylegan.runs.folder import lock, new_run_dir
from stylegan.runs.report import sheets, write_report
from stylegan.runs.report.curves import MAX_POINTS, charts_of

EVIL = "</script><img src=x onerror=alert(1)>\u2028"
LOADS = {"src", "href", "srcset", "data", "action", "poster", "background", "xlink:href"}


class Page(HTMLParser):
    """The parts of a page: attributes that load something, images, scripts, text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.loads, self.images, self.scripts, self.text = [], [], [], [], ""
        self.metas, self.policy, self._inside = [], "", None
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        assert not [name for name in attrs if name.startswith("on")]
        self.loads += [v for k, v in attrs.items() if k in LOADS]
        if tag == "meta":
            self.metas.append(attrs)
        if tag == "img":
            self.images.append(attrs)
        if tag == "script":
            self.scripts.append("")
        if attrs.get("http-equiv") == "Content-Security-Policy":
            self.policy = attrs["content"]
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text += data

    @property
    def data(self):
        return json.loads(self.scripts[0])

    def sheets(self):
        """The embedded sheets as PIL images, in order."""
        urls = [i["src"] for i in self.images if i.get("class") == "sheet"]
        return [opened(url) for url in urls]


def opened(url):
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


@pytest.fixture
def make(tmp_path):
    """make(lines, ...) -> a run folder with that log."""

    def run_dir(lines=(), class_names=("a", "b"), path=None, **about):
        config = tiny(kimg=8, c_dim=2)
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, path=path))
        dataset = {"name": "photos", "images": 12, "class_names": list(class_names)}
        about = {"device": "cpu (2 threads)", "dataset": dataset, **about}
        folder = new_run_dir(tmp_path, "photos", config, about)
        (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "samples").mkdir()
        return folder

    return run_dir


def metrics(count, **more):
    return [{"kimg": i + 1.0, "loss/G": float(i), "loss/D": 1.0, **more} for i in range(count)]


def sheet(run_dir, name, size=(48, 32), mode="RGB", color=0):
    Image.new(mode, size, color).save(run_dir / "samples" / f"{name}.png")


def test_a_page_with_everything(make):
    started = {"kimg": 0.0, "time": "2026-11-22T23:50:00+00:00", "event": "started", "text": "hi"}
    last = {"seconds": 3700.0, "images_per_s": 123.4, "memory_gb": 0.5, "new/metric": 3.0}
    warning = {**started, "event": "warning", "text": "2 files passed over"}
    run_dir = make([started, *metrics(5, **last), warning, {**started, "event": "finished"}])
    sheet(run_dir, "000000.000")
    sheet(run_dir, "000005.000")
    sheet(run_dir, "reals")
    path = write_report(run_dir)
    assert path == run_dir / "report.html"
    page = Page(path)
    for part in (run_dir.name, "finished", "5 of 8 kimg", "123.4 images/s", "1:01 h", "cpu (2"):
        assert part in " ".join(page.text.split()), part
    for part in ("photos, 12 images", "2 files passed over", "mapping_layers", "16×16 px, RGB"):
        assert part in " ".join(page.text.split()), part
    assert [chart["title"] for chart in page.data["charts"]] == ["Losses", "Speed and memory"]
    assert [chart["title"] for chart in page.data["other"]] == ["new/metric"]
    assert [s["kimg"] for s in page.data["sheets"]] == ["0", "5"] and len(page.images) == 3
    assert [mark["text"] for mark in page.data["marks"]] == ["2 files passed over"]


def test_nothing_is_loaded_and_no_other_script_runs(make):
    run_dir = make(metrics(3))
    sheet(run_dir, "000001.000")
    path = write_report(run_dir)
    page = Page(path)
    assert page.loads and all(re.match(r"data:image/|#", load) for load in page.loads)
    assert not {"link", "iframe", "object", "embed", "base"} & set(page.tags)
    text = path.read_text("utf-8")
    assert not re.search(r"@import|url\(", text)
    for word in ("fetch(", "XMLHttpRequest", "WebSocket", "import(", "sendBeacon"):
        assert word not in text
    rules = dict(rule.strip().partition(" ")[::2] for rule in page.policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()) for s in page.scripts[1:]]
    assert rules["script-src"] == " ".join(f"'sha256-{h.decode()}'" for h in hashes)


def test_words_of_the_user_stay_words(make):
    event = {"kimg": 1.0, "time": EVIL, "event": "warning", "text": EVIL}
    nasty = {EVIL: 1.0}
    run_dir = make(
        [*metrics(2, **nasty), event], [EVIL, "\udcff"], f"/data/{EVIL}", **{EVIL: {EVIL: EVIL}}
    )
    page = Page(write_report(run_dir))
    plain = Page(write_report(make([*metrics(2, x=1.0), {**event, "text": "x"}], path="p", a="b")))
    assert page.tags == plain.tags and not page.images
    assert page.text.count(EVIL) > 6
    assert page.data["other"][0]["title"] == EVIL and page.data["marks"][0]["text"] == EVIL
    assert "\u2028" not in page.scripts[0] and "<" not in page.scripts[0]


def test_sheets_are_few_small_and_evenly_spaced(make):
    run_dir = make()
    noise = np.random.default_rng(0).integers(0, 256, (1400, 2000, 3), dtype=np.uint8)
    for i in range(40):
        name = f"{i:06d}.500"
        if i % 8:
            sheet(run_dir, name, color=(i, 0, 0))
        else:
            Image.fromarray(noise).save(run_dir / "samples" / f"{name}.png", compress_level=0)
    sheet(run_dir, "reals")
    path = write_report(run_dir)
    page = Page(path)
    kimg = [float(s["kimg"]) for s in page.data["sheets"]]
    assert len(kimg) == len(page.sheets()) == sheets.SHEETS
    assert (kimg[0], kimg[-1]) == (0.5, 39.5)
    assert set(np.diff(kimg)) == {1.0, 2.0}
    assert [i for i in page.images if "hidden" not in i] == page.images[-2:]  # newest, reals
    for image in page.sheets():
        assert image.width <= 1280
    first = page.sheets()[0]
    assert abs(first.width / first.height - 2000 / 1400) < 0.01
    one = max(len(image["src"]) for image in page.images)
    assert one < 1.4 * sheets.MAX_BYTES and path.stat().st_size < 6e6


@pytest.mark.parametrize("damage", [b"", b"no image", "half", "other"])
def test_a_damaged_sheet_is_left_out(make, damage):
    run_dir = make(metrics(2))
    for name in ("000001.000", "000002.000", "000003.000", "reals"):
        sheet(run_dir, name)
    for name in ("000002.000", "reals"):
        path = run_dir / "samples" / f"{name}.png"
        if damage == "half":
            path.write_bytes(path.read_bytes()[:-40])
        elif damage == "other":
            path.unlink()
            path.mkdir()
        else:
            path.write_bytes(damage)
    page = Page(write_report(run_dir))
    assert [s["kimg"] for s in page.data["sheets"]] == ["1", "3"] and len(page.images) == 2


@pytest.mark.parametrize("mode, color", [("L", 90), ("RGB", (90, 0, 0)), ("P", 3), ("1", 1)])
def test_sheets_of_every_kind(make, mode, color):
    run_dir = make()
    sheet(run_dir, "000001.000", mode=mode, color=color)
    (image,) = Page(write_report(run_dir)).sheets()
    assert image.size == (48, 32) and image.mode in ("L", "RGB")


def test_transparency_shows_a_checkerboard(make):
    run_dir = make()
    sheet(run_dir, "000001.000", size=(64, 32), mode="RGBA", color=(255, 0, 0, 0))
    (image,) = Page(write_report(run_dir)).sheets()
    pixels = np.asarray(image.convert("L")).astype(int)
    light, dark = pixels[4, 4], pixels[4, 12]
    assert abs(light - 255) < 8 and abs(dark - 204) < 8 and abs(pixels[12, 12] - 255) < 8


def test_a_short_log_is_drawn_as_it_is():
    lines = metrics(4)
    lines[1]["loss/G"], lines[2]["loss/D"] = math.nan, math.inf
    lines[0]["loss/r1"], lines[3]["loss/r1"] = 0.25, 0.5
    charts = charts_of(lines)
    losses, regularisation = charts["charts"]
    assert charts["x"] == [1, 2, 3, 4]
    assert losses["series"][0] == {"label": "G", "y": [0, None, 2, 3], "last": 3}
    assert losses["series"][1]["y"] == [1, 1, None, 1]
    r1 = regularisation["series"][0]["y"]
    assert r1 == [0.25, False, False, 0.5] and r1[1] is False  # not logged is no gap
    assert not regularisation["two_axes"]


def test_a_long_log_is_thinned_and_keeps_ends_and_extremes():
    count = 50_001
    lines = metrics(count)
    lines[20_000]["loss/D"], lines[20_001]["loss/D"] = 77.0, -5.0
    for line in lines[30_000:31_000]:
        line["loss/D"] = math.nan
    charts = charts_of(lines)
    g, d = charts["charts"][0]["series"]
    x = charts["x"]
    assert 1000 < len(x) <= MAX_POINTS and len(x) == len(g["y"]) == len(d["low"]) == len(d["high"])
    assert (x[0], x[-1]) == (1, count) and x == sorted(x)
    assert (g["y"][0], g["y"][-1], g["last"]) == (0, count - 1, count - 1)
    assert max(v for v in d["high"] if v) == 77 and min(v for v in d["low"] if v) == -5
    assert all(abs(a - b - 1) < 30 for a, b in zip(x, g["y"]))  # the mean of its lines
    gap = [a for a, b in zip(x, d["y"]) if b is None]
    assert 900 < gap[-1] - gap[0] <= 1000 and 30_000 < gap[0] < gap[-1] < 31_001


def test_what_was_trained_twice_is_drawn_once():
    lines = [*metrics(4), {"kimg": 3.0, "loss/G": 9.0}, {"kimg": 4.0, "loss/G": 9.0}]
    charts = charts_of(lines)
    assert charts["x"] == [1, 2, 3, 4] and charts["charts"][0]["series"][0]["y"] == [0, 1, 9, 9]


@pytest.mark.parametrize("name", ["nonfinite_gradients", "pl_mean"])
def test_curves_only_where_there_is_something(name):
    def titles(lines):
        charts = charts_of(lines)
        return [c["title"] for c in charts["charts"] + charts["other"]]

    assert titles(metrics(3, **{name: 0.0})) == ["Losses"]
    assert len(titles([*metrics(3, **{name: 0.0}), {"kimg": 9.0, name: 2.0}])) == 2


def test_damaged_runs_have_a_report_too(make, tmp_path):
    (tmp_path / "nothing").mkdir()
    assert "No sheets yet" in Page(write_report(tmp_path / "nothing")).text
    run_dir = make(metrics(1, seconds=math.nan, images_per_s=math.inf, memory_gb=math.nan))
    (run_dir / "run.json").write_text("{")
    assert "run.json: line 1" in Page(write_report(run_dir)).text
    for odd in ("photos", ["photos"], None, {"class_names": "ab", "name": {"x": 1}}):
        Page(write_report(make(metrics(1), dataset=odd)))


def test_it_appears_whole_or_not_at_all(make, monkeypatch):
    run_dir = make(metrics(1))
    path = write_report(run_dir)
    before = path.read_bytes()

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError):
        write_report(run_dir)
    assert path.read_bytes() == before
    assert not [p.name for p in run_dir.iterdir() if "part" in p.name]


def test_the_end_is_told_while_the_folder_is_held(make):
    run_dir = make([*metrics(1), {"kimg": 1.0, "event": "finished", "text": "", "time": ""}])
    with lock(run_dir):
        assert "while the run went on" not in Page(write_report(run_dir)).text
    (run_dir / "log.jsonl").write_text(json.dumps(metrics(1, images_per_s=10.0)[0]) + "\n")
    with lock(run_dir):
        text = " ".join(Page(write_report(run_dir)).text.split())
    assert "while the run went on" in text and "Left, about0:11 h" in text


def test_a_live_report_loads_itself_again_until_the_run_has_ended(make):
    run_dir = make(metrics(3, seconds=300.0, images_per_s=99.0))
    with lock(run_dir):
        page = Page(write_report(run_dir))
    # 3 of 8 kimg in 300 s: 10 images/s, so 5 kimg take 500 s.
    text = " ".join(page.text.split())
    assert "running" in text and "3 of 8 kimg, 8 minutes left, written 20" in text
    assert "Mean speed10 images/s" in text and "Speed99 images/s" in text
    assert abs(page.data["written"] - time.time()) < 60
    refresh = [a for a in page.metas if a.get("http-equiv") == "refresh"]
    assert refresh == [{"http-equiv": "refresh", "content": "30"}]  # inside <noscript>
    assert "location.reload()" in page.scripts[-1]
    with (run_dir / "log.jsonl").open("a") as log:
        log.write(json.dumps({"kimg": 3.0, "event": "interrupted", "text": "", "time": ""}) + "\n")
    with lock(run_dir):  # a run that ends writes its last report before it lets go
        page = Page(write_report(run_dir))
    text = " ".join(page.text.split())
    assert page.data["written"] is None and "left" not in text.split("Samples")[0]
    assert not [a for a in page.metas if a.get("http-equiv") == "refresh"]


def test_a_live_report_before_the_first_line_of_the_log(make):
    run_dir = make()
    with lock(run_dir):
        text = " ".join(Page(write_report(run_dir)).text.split())
    assert "0 of 8 kimg, written 20" in text
