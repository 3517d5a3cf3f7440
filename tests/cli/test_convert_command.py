# SPDX-License-Identifier: Apache-2.0
import hashlib
import json
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open

import stylegan

FIXTURES = Path(__file__).parents[1] / "fixtures"
ADA, COND, T, PT = (
    FIXTURES / f for f in ("sg2ada-64.pkl", "sg2ada-cond-32.pkl", "sg3t-64.pkl", "rosinality-64.pt")
)


def state(path, name="G_ema"):
    return getattr(stylegan.load_networks(path, "cpu"), name).state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


class Malicious:
    def __reduce__(self):
        return os.system, ("touch ran",)


def test_from_format_to_format_without_a_difference(run, tmp_path):
    steps = [ADA, "snapshot", "a.pt", "b.pkl", "again"]
    for source, out in zip(steps, steps[1:]):
        code, text, err = run("convert", source, out)
        assert code == 0, err
        assert text.startswith(f"{out}: ")
    for step in steps[1:]:
        for name in ("G_ema", "G", "D"):
            assert same(state(ADA, name), state(tmp_path / step, name)), (step, name)
    pictures = []
    for i, source in enumerate((ADA, "again")):
        assert run("generate", source, "--seeds", "5", "--outdir", f"o{i}")[0] == 0
        with Image.open(tmp_path / f"o{i}" / "seed0005.png") as image:
            pictures.append(image.tobytes())
    assert pictures[0] == pictures[1]


def test_a_snapshot_remembers_where_it_came_from(run, tmp_path):
    assert run("convert", ADA, "snapshot")[0] == 0
    content = json.loads((tmp_path / "snapshot" / "config.json").read_text())
    digest = hashlib.sha256(ADA.read_bytes()).hexdigest()
    assert content["source"] == {
        "file": ADA.name,
        "format": "NVIDIA PyTorch .pkl",
        "sha256": digest,
    }
    assert content["augment_p"] == 1 and content["dataset"]["images"] == 100
    code, out, _ = run("info", "snapshot")
    assert code == 0 and "sg2ada-64.pkl (NVIDIA PyTorch .pkl)" in out and "trained" not in out
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "snapshot").iterdir()}
    assert len(modes) == 1


def test_info(run):
    digest = hashlib.sha256(ADA.read_bytes()).hexdigest()
    code, out, _ = run("info", "--json", ADA)
    rows = json.loads(out)
    assert code == 0
    assert rows["family"] == "StyleGAN2, skip" and rows["images"] == "64x64 px, 3 channels"
    assert rows["format"] == "NVIDIA PyTorch .pkl" and rows["sha256"] == digest
    assert rows["G_ema"] == "163,536 parameters" and rows["D"] == "178,113 parameters"
    assert rows["layers"] == "mapping 3; b4 48, b8 48, b16 48, b32 32, b64 16"
    assert rows["augmentation"] == "p 1" and "max_size 100" in rows["data"]
    assert rows["classes"] == "none" and rows["latents"] == "z 48, w 40"
    assert rows["source text"].startswith("81 characters")
    rows = json.loads(run("info", "--json", T)[1])
    assert rows["family"] == "StyleGAN3-T" and rows["layers"].endswith("L13_64_16, L14_64_3")
    rows = json.loads(run("info", "--json", COND)[1])
    assert rows["classes"] == "5, by number" and rows["architecture"].endswith("D orig")
    rows = json.loads(run("info", "--json", PT)[1])
    assert rows["format"] == "rosinality .pt" and rows["D"] == "not in the file"
    assert "source text" not in rows and rows["data"] == "not recorded"


def test_every_command_takes_them(run, tmp_path):
    for args in (
        ["mix", PT, "--rows", "1", "--columns", "2,3", "--layers", "0-3", "--out", "mix.png"],
        ["video", T, "--seeds", "0-1", "--frames", "2", "--out", "a.webp"],
        ["generate", COND, "--class", "3", "--seeds", "0", "--outdir", "one"],
        ["generate", COND, "--seeds", "0-4", "--outdir", "all"],
        ["metrics", T, "--metrics", "eqt", "--samples", "1"],
        ["spectra", ADA, PT, "--images", "2", "--out", "s.npz"],
    ):
        code, _, err = run(*args)
        assert code == 0, err
    with Image.open(tmp_path / "all" / "seed0003.png") as image:
        assert image.mode == "L" and image.info["class"] == "3" and "kimg" not in image.info
    code, _, err = run("generate", COND, "--class", "7", "--seeds", "0")
    assert code == 2 and "a number from 0 to 4" in err


def test_training_begins_with_them(run, tmp_path):
    sizes = ["--resolution", "64", "--channel-base", "1024", "--channel-max", "48"]
    rest = ["--mapping-layers", "3", "--batch", "2", "--kimg", "0.002", "--device", "cpu"]
    code, out, err = run("train", "--init-from", ADA, *sizes, *rest)
    assert code == 0, err
    assert f"weights of {ADA} (64x64 px, 3 channels, no classes)" in out
    assert "D b64" in out and "7 of 7" in out
    code, _, err = run("train", "--resume", ADA)
    assert code == 2 and "--init-from starts from its weights" in err and err.count("\n") == 1


def test_tensors_under_their_own_names(run, tmp_path):
    code, out, err = run("convert", PT, "all.safetensors")
    assert code == 0, err
    assert out == "all.safetensors: 89 tensors of G_ema\n"
    with safe_open(tmp_path / "all.safetensors", "pt") as f:
        weight = f.get_tensor("G_ema.convs.0.conv.weight")
        assert f.metadata()["source"] == "rosinality .pt"
    assert torch.equal(weight[0], state(PT)["synthesis.b8.conv0.weight"])
    assert run("convert", ADA, "snapshot")[0] == 0
    code, out, err = run("convert", "snapshot", "other.bin", "--to", "safetensors")
    assert code == 0 and out.endswith("of G_ema, G, D\n"), err


@pytest.mark.parametrize(
    "args, message",
    [
        ("nothing out", "nothing: there is no such folder or file"),
        ("{ada} full", "full: holds other files than a converted snapshot; not replaced"),
        ("{ada} file", "file: is a file; not replaced"),
        ("{ada} a.zip", "expected a folder or a file .pt, .pth, .pkl, .safetensors"),
        ("{cond} a.pt", "got StyleGAN2, resnet"),
        ("{t} a.pt", "got StyleGAN3-T"),
        ("{ada} file/a.pt", "cannot make the folder file"),
        ("{ada} full.pt", "full.pt: is a folder; not replaced"),
        (
            "file out",
            "file: is a text; expected the folder of a run or of a snapshot, or a network file",
        ),
        ("evil.pkl out", "evil.pkl: refuses the global posix.system"),
        ("evil.pkl out --to safetensors", "evil.pkl: refuses the global posix.system"),
        ("short.pkl out", "short.pkl: the file ends too early; copy or download it again"),
        ("empty.pt out", "empty.pt: is an empty file"),
        ("{ada} out --to x", "'x' is not one of"),
    ],
)
def test_what_goes_wrong_is_one_line_and_leaves_nothing(run, tmp_path, args, message):
    (tmp_path / "full" / "x").mkdir(parents=True)
    (tmp_path / "full.pt").mkdir()
    (tmp_path / "file").write_text("text")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"G_ema": Malicious()}))
    (tmp_path / "short.pkl").write_bytes(ADA.read_bytes()[:100_000])
    (tmp_path / "empty.pt").write_bytes(b"")
    before = sorted(tmp_path.iterdir())
    code, out, err = run("convert", *args.format(ada=ADA, cond=COND, t=T).split())
    assert code == 2 and message in err and err.count("\n") == 1 and not out
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("command", ["info", "generate", "mix", "video", "metrics"])
def test_no_command_runs_what_a_file_says(run, tmp_path, command):
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"G_ema": Malicious()}))
    extra = {"metrics": "--metrics eqt", "mix": "--rows 1 --columns 2", "video": "--out a.webp"}
    code, _, err = run(command, "evil.pkl", *extra.get(command, "").split())
    assert code == 2 and "refuses the global posix.system" in err and err.count("\n") == 1
    assert not (tmp_path / "ran").exists()


def test_what_fails_in_the_middle_leaves_nothing(run, tmp_path, monkeypatch):
    def fails(*args, **kwargs):
        raise ValueError("in the middle")

    monkeypatch.setattr("stylegan.snapshot_files.save_file", fails)
    monkeypatch.setattr("safetensors.torch.save_file", fails)
    monkeypatch.setattr("torch.save", fails)
    for out in ("snapshot", "a.pt", "a.safetensors"):
        code, _, err = run("convert", ADA, out)
        assert code == 1 and "in the middle" in err
    assert not list(tmp_path.iterdir())


def test_written_for_everybody_who_may_read_here(run, tmp_path):
    for out in ("a.pt", "a.pkl", "a.safetensors"):
        assert run("convert", ADA, out)[0] == 0
    (tmp_path / "plain").touch()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


LIMITED = """
import resource, signal, sys
from click.testing import CliRunner
from stylegan.cli.main import program
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for out in ("snapshot", "a.pt", "a.pkl", "a.safetensors"):
    result = CliRunner().invoke(program, ["convert", sys.argv[1], out])
    print(result.exit_code, result.stderr.strip())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_full_disk_is_one_line_that_names_the_file(tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", LIMITED, str(ADA)], cwd=tmp_path, capture_output=True, text=True
    )
    outs = ("snapshot", "a.pt", "a.pkl", "a.safetensors")
    assert child.stdout.splitlines() == [
        f"1 stylegan: {out}: cannot be written (File too large); make space, or write to another "
        "disk"
        for out in outs
    ]
    assert not list(tmp_path.iterdir())


def test_a_link_stays_one_and_what_is_no_file_stays_that(run, tmp_path):
    """In other commands too."""
    os.mkfifo(tmp_path / "fifo.webp")
    (tmp_path / "real.webp").touch()
    (tmp_path / "link.webp").symlink_to("real.webp")
    args = ["video", PT, "--seeds", "0-1", "--frames", "2", "--out"]
    assert run(*args, "link.webp", "--overwrite")[0] == 0
    assert (tmp_path / "link.webp").is_symlink() and (tmp_path / "real.webp").stat().st_size
    code, _, err = run(*args, "fifo.webp")
    assert code == 2 and "is no ordinary file" in err
    assert stat.S_ISFIFO((tmp_path / "fifo.webp").stat().st_mode)
    code, _, err = run("convert", ADA, "link.webp", "--to", "rosinality")
    assert code == 2 and "already exists" in err
    code, _, err = run("info", "fifo.webp")
    assert code == 2 and "neither a file nor a folder" in err


def test_a_checkpoint_of_another_name(run, tmp_path):
    (tmp_path / "e4e.bin").write_bytes(PT.read_bytes())
    code, out, _ = run("info", "e4e.bin")
    assert code == 0 and "rosinality .pt" in out
    code, out, _ = run("convert", "e4e.bin", "a.safetensors")
    assert code == 0 and "89 tensors" in out
    code, _, err = run("info", "nothing.pkl")
    assert code == 2 and "nothing.pkl: there is no such folder or file" in err
