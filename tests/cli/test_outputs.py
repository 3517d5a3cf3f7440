# SPDX-License-Identifier: Apache-2.0
"""Files that commands write: none is replaced without --overwrite, each says how it was made, and
what is done stays after Ctrl-C or on a full disk."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from stylegan.inference.pipeline import Pipeline

EMPTY_ZIP = b"PK\5\6" + bytes(18)

# Each command with a network or data: {name: (arguments, the files that it writes)}. It ends with
# the option that names the last file, and {} for the folder.
WRITES = {
    "generate": ("{net} --seeds 0-1 --outdir {}", ("seed0000.png", "seed0001.png")),
    "generate --grid": ("{net} --seeds 0-1 --grid --outdir {}", ("grid.png",)),
    "generate --save-ws": ("{net} --seeds 0 --outdir {}/x --save-ws {}/a.npz", ("a.npz",)),
    "mix": ("{net} --rows 0 --columns 1 --out {}/a.png", ("a.png",)),
    "video": ("{net} --frames 1 --out {}/a.gif", ("a.gif",)),
    "spectra": ("{net} --images 2 --out {}/b.json --out {}/a.npz", ("a.npz", "b.json")),
    "metrics": ("{net3} --metrics eqt --samples 1 --json {}/a.json", ("a.json",)),
    "convert": ("{net} {}/a.pt", ("a.pt",)),
    "convert --to": ("{net} {}/a --to safetensors", ("a",)),
    "dataset": ("{data} {}/a.zip", ("a.zip",)),
    "info": ("{data} --sheet {}/a.png", ("a.png",)),
}


def arguments(name, places, folder):
    command, args = name.split()[0], WRITES[name][0]
    values = (part.replace("{}", str(folder)).format(**places) for part in args.split())
    return [command, *values]


@pytest.mark.parametrize("name", WRITES)
def test_a_file_is_replaced_only_with_overwrite(run, places, tmp_path, monkeypatch, name):
    folder = tmp_path / "new" / "folder"
    code, _, err = run(*arguments(name, places, folder))
    assert code == 0 and not err, err
    files = WRITES[name][1]
    assert {p.name for p in folder.iterdir() if p.is_file()} == set(files)
    before = {file: (folder / file).read_bytes() for file in files}
    for file in files:
        (folder / file).write_bytes(EMPTY_ZIP)
    args = [a if a != f"{folder}/x" else f"{folder}/y" for a in arguments(name, places, folder)]
    code, out, err = run(*args)
    assert code == 2 and not out and err.count("\n") == 1
    assert str(folder) in err and "already exists" in err and "--overwrite replaces" in err
    assert all((folder / file).read_bytes() == EMPTY_ZIP for file in files)
    if name == "dataset":  # b"mine" is no data set, which it would not replace
        (folder / "a.zip").write_bytes(before["a.zip"])
    code, _, err = run(*args, "--overwrite")
    assert code == 0, err
    for file in files:
        again = (folder / file).read_bytes()
        assert again == before[file] or name == "metrics", file  # its seconds differ


@pytest.mark.parametrize("name", WRITES)
def test_a_file_where_a_folder_is_needed(run, places, tmp_path, name):
    (tmp_path / "text").touch()
    code, out, err = run(*arguments(name, places, tmp_path / "text" / "x"))
    assert code == 2 and not out and err.count("\n") == 1
    assert "cannot make the folder" in err and "a file has that name" in err, err
    assert sorted(tmp_path.iterdir()) == [tmp_path / "text"]


@pytest.mark.parametrize("name", ["mix", "video", "spectra", "metrics", "convert", "info"])
def test_existing_files_are_noticed_before_the_work(run, places, tmp_path, monkeypatch, name):
    for file in WRITES[name][1]:
        (tmp_path / file).touch()

    def fail(*args, **kwargs):
        raise AssertionError("the network was read")

    monkeypatch.setattr("stylegan.networks.load_networks", fail)
    monkeypatch.setattr(Pipeline, "from_pretrained", fail)
    code, _, err = run(*arguments(name, places, tmp_path))
    assert code == 2 and "already exists" in err, err


def test_generate_notices_them_before_it_draws(run, places, tmp_path, monkeypatch):
    (tmp_path / "seed0001.png").touch()
    monkeypatch.setattr(Pipeline, "__call__", None)
    code, _, err = run("generate", places["net"], "--seeds", "0-3", "--outdir", tmp_path)
    assert code == 2 and "seed0001.png: already exists" in err, err


@pytest.mark.parametrize("options", [[], ["--no-sheet"], ["--overwrite"], ["--json"]])
def test_info_writes_no_file_unless_asked(run, places, tmp_path, options):
    code, out, err = run("info", places["data"], *options)
    assert code == 0 and "3" in out and "sheet" not in out, err
    assert list(tmp_path.iterdir()) == []


def test_convert_replaces_only_what_it_wrote(run, places, tmp_path):
    args = ["convert", places["net"]]
    assert run(*args, "snap")[0] == 0 and run(*args, "snap", "--overwrite")[0] == 0
    (tmp_path / "snap" / "training_state.pt").touch()
    code, _, err = run(*args, "snap", "--overwrite")
    assert code == 2 and "snap: holds other files than a converted snapshot" in err
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").touch()
    for out in ("photos", "photos/a.png"):
        code, _, err = run(*args, out, "--overwrite", "--to", "snapshot")
        assert code == 2 and "not replaced" in err and (tmp_path / "photos" / "a.png").is_file()
    code, _, err = run(*args, "photos", "--to", "nvidia", "--overwrite")
    assert code == 2 and "photos: is a folder; not replaced" in err
    for source, out in (("snap", "snap"), ("snap", ".")):
        code, _, err = run("convert", source, out, "--overwrite")
        assert code == 2 and "holds the source, snap, and is not replaced" in err
    assert run(*args, "a.pt")[0] == 0
    code, _, err = run("convert", "a.pt", "a.pt", "--overwrite")
    assert code == 2 and "holds the source" in err


# What files say of themselves


def metadata_of(path):
    """The metadata in a file, as {name: text}."""
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        return content if "network" in content else content["net"]["about"]
    if path.suffix == ".npz":
        about = json.loads(str(np.load(path)["about"]))
        return about if "network" in about else about["net"]
    with Image.open(path) as image:
        if path.suffix == ".gif":
            return json.loads(image.info["comment"])
        if path.suffix == ".webp":
            return json.loads(image.getexif()[0x010E])
        return json.loads(image.text["about"])["net"] if "about" in image.text else image.text


@pytest.mark.parametrize(
    "args, file, wanted",
    [
        ("generate {net} --seeds 3 --trunc 0.5 --noise-mode none --outdir .", "*.png", "seed:3"),
        ("generate {net} --seeds 3 --trunc 0.5 --format webp --outdir .", "*.webp", "seed:3"),
        ("generate {net} --seeds 3 --trunc 0.5 --grid --outdir .", "*.png", "seeds:3"),
        ("generate {net} --seeds 3 --trunc 0.5 --save-ws a.npz", "*.npz", "seeds:3"),
        (
            "mix {net} --rows 3 --columns 4,5 --trunc 0.5",
            "*.png",
            "rows:3 columns:4,5 layers:0,1,2,3",
        ),
        ("mix {net} --rows 3 --columns 4,5 --trunc 0.5 --out a.webp", "*.webp", "rows:3"),
        (
            "video {net} --seeds 3-4 --trunc 0.5 --frames 1 --out a.webp",
            "*.webp",
            "seeds:3,4 fps:30",
        ),
        (
            "video {net} --seeds 3-4 --trunc 0.5 --frames 1 --out a.gif",
            "*.gif",
            "seeds:3,4 frames:2",
        ),
        ("spectra {net} --images 2 --trunc 0.5 --out a.npz", "*.npz", "images:2"),
        ("spectra {net} --images 2 --trunc 0.5 --out a.json", "*.json", "images:2"),
        ("spectra {net} --images 2 --trunc 0.5 --out a.png", "*.png", "images:2"),
        (
            "metrics {net3} --metrics eqt --samples 1 --trunc 0.5 --seed 9 --json a.json",
            "*.json",
            "seed:9",
        ),
    ],
)
def test_every_file_says_how_it_was_made(run, places, tmp_path, args, file, wanted):
    if args.endswith("a.png"):
        pytest.importorskip("matplotlib")
    code, _, err = run(*args.format(**places).split())
    assert code == 0, err
    (path,) = tmp_path.glob(file)
    about = metadata_of(path)
    assert about["command"] == args.split()[0] and float(about["trunc"]) == 0.5
    assert len(about["sha256"]) == 64 and float(about["kimg"]) == 1 and about["version"]
    assert str(about["network"]) in (str(places["net"]), str(places["net3"]))
    for part in wanted.split():
        name, value = part.split(":")
        assert str(about[name]) == value
    if "none" in args:
        assert about["noise_mode"] == "none"


def test_an_mp4_says_it_too(run, places, tmp_path):
    av = pytest.importorskip("av")
    code, _, err = run("video", places["net"], "--seeds", "3-4", "--frames", "1")
    assert code == 0, err
    with av.open(str(tmp_path / "video.mp4")) as container:
        about = json.loads(container.metadata["comment"])
    assert about["seeds"] == "3,4" and len(about["sha256"]) == 64


# Stopping


def interrupt_after(monkeypatch, count):
    """The pipeline is interrupted at its call number `count`, from 0."""
    call, calls = Pipeline.__call__, []

    def interrupted(self, *args, **kwargs):
        calls.append(1)
        if len(calls) > count:
            raise KeyboardInterrupt
        return call(self, *args, **kwargs)

    monkeypatch.setattr(Pipeline, "__call__", interrupted)


@pytest.mark.parametrize(
    "args, left",
    [
        ("generate {net} --seeds 0-5 --batch 2 --outdir .", "seed0000.png seed0001.png"),
        ("generate {net} --seeds 0-5 --batch 2 --outdir . --grid", "grid.png"),
        (
            "generate {net} --seeds 0-5 --batch 2 --outdir . --save-ws a.npz",
            "a.npz seed0000.png seed0001.png",
        ),
        ("mix {net}", ""),
        ("video {net} --out a.gif --save-ws a.npz --batch 1", ""),
        ("spectra {data} {net} --images 2 --out a.npz --out a.json --batch 1", "a.json a.npz"),
    ],
)
def test_ctrl_c_leaves_what_is_done(run, places, tmp_path, monkeypatch, args, left):
    interrupt_after(monkeypatch, 0 if args.startswith("spectra") else 1)
    code, out, err = run(*args.format(**places).split())
    assert code == 130 and err.splitlines()[-1] == "stylegan: interrupted"
    others = [line for line in err.splitlines()[:-1] if line]
    assert others == (["data: 2 of 3 images"] if "spectra" in args else [])
    assert sorted(p.name for p in tmp_path.iterdir()) == left.split()
    if args.startswith("generate") and "grid" not in args:
        assert out.startswith("2 images in .\n")
    if "a.npz" in left and args.startswith("generate"):
        assert len(np.load("a.npz")["ws"]) == 2
        assert metadata_of(tmp_path / "a.npz")["interrupted"] == "after 2 of 6 images"
    if "spectra" in args:
        assert list(json.loads((tmp_path / "a.json").read_text())) == ["data"]
    if "grid" in args:
        assert Image.open("grid.png").size == (2 * 128, 128)


def test_ctrl_c_in_a_later_metric_keeps_the_first(run, places, tmp_path, monkeypatch):
    from stylegan.metrics import registry

    def interrupted(networks, options):
        raise KeyboardInterrupt

    metric = registry.Metric(interrupted, 1, "dB", "x")
    monkeypatch.setitem(registry.METRICS, "eqr", metric)
    args = ["--metrics", "eqt,eqr", "--samples", "1", "--json", "a.json"]
    code, out, err = run("metrics", places["net3"], *args)
    assert code == 130 and err.strip() == "stylegan: interrupted" and out.startswith("eqt_int")
    content = json.loads((tmp_path / "a.json").read_text())
    assert [m["name"] for m in content["metrics"]] == ["eqt_int", "eqt_frac"]


LIMITED = """
import resource, signal, sys
from click.testing import CliRunner
from stylegan.cli.main import program
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
for line in sys.argv[1:]:
    result = CliRunner().invoke(program, line.split())
    print(result.exit_code, result.stderr.strip())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_full_disk_is_one_line_that_names_the_file(places, tmp_path):
    lines = {
        "generate {net} --seeds 0 --outdir .": "seed0000.png",
        "generate {net} --seeds 0 --grid --outdir .": "grid.png",
        "mix {net} --rows 0 --columns 1": "mix.png",
        "mix {net} --rows 0 --columns 1 --save-ws a.npz": "mix.png",
        "video {net} --frames 1 --out a.gif": "a.gif",
        "spectra {net} --images 2 --out a.npz": "a.npz",
        "metrics {net3} --metrics eqt --samples 1 --json a.json": "a.json",
        "dataset {data} a.zip": "a.zip",
    }
    args = [line.format(**places) for line in lines]
    child = subprocess.run(
        [sys.executable, "-c", LIMITED, *args], cwd=tmp_path, capture_output=True, text=True
    )
    expected = [
        f"1 stylegan: {file}: cannot be written (File too large); make space, or write to another "
        "disk"
        for file in lines.values()
    ]
    assert child.stdout.splitlines() == expected, child.stderr
    assert not list(tmp_path.iterdir())
