# SPDX-License-Identifier: Apache-2.0
"""Every command says the same of a file that it cannot use; weights alone are a network."""

import shutil
import zipfile
from pathlib import Path

import pytest
from support.pictures import encoded, picture

FIXTURES = Path(__file__).parents[1] / "fixtures"
ADA = FIXTURES / "sg2-32.pkl"
WEIGHTS = FIXTURES / "sg2-32.safetensors"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 9\n"

NOT, AGAIN = "not the file itself", "download it again"
FROM = "from the page that it shows"
AS_NETWORK = [
    "generate {}",
    "mix {}",
    "video {}",
    "metrics {} --metrics eqt",
    "spectra {} --out out.npz",
    "info {}",
    "convert {} out",
    "train --init-from {} --data emoji --dry-run",
    "train --resume {}",
    f"info {WEIGHTS} --like {{}}",
]
AS_DATA = ["train --data {}", "dataset {} out", "info {}", "spectra {} --out out.npz"]


def outcome(run, command, name):
    code, out, err = run(*command.format(name).split())
    assert code == 2 and err.count("\n") == 1 and not out, (code, out, err)
    return err.rstrip("\n").partition(name + ": ")[2]


@pytest.mark.parametrize(
    "name, data, words",
    [
        ("net.pkl", LFS, f"is a Git LFS pointer, {NOT}; `git lfs pull` downloads the file"),
        (
            "net.pt",
            b"<!DOCTYPE html>",
            f"is a web page, {NOT}; {AGAIN}, {FROM}",
        ),
        ("net.pkl", b"", f"is an empty file; {AGAIN}"),
    ],
)
def test_all_commands_say_the_same_of_what_is_no_network(run, tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    for command in AS_NETWORK:
        assert outcome(run, command, name) == words, command
    for command in AS_DATA:
        assert outcome(run, command, name) == words, command


@pytest.mark.parametrize(
    "name, data, words",
    [
        ("a.mp4", b"\0\0\0\x20ftypisom", "a video; mkdir a; ffmpeg -i "),
        ("a.parquet", b"PAR1", "a Parquet file; make images of it, as docs/other-data.md shows"),
        ("a.zip", b"PK\3\4 not really", "a zip archive whose end is missing; copy or download"),
        ("a.png", encoded(picture((16, 16))), "a single image; give the folder that holds it"),
    ],
)
def test_all_commands_say_the_same_of_what_is_no_data_set(run, tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    for command in AS_DATA:
        assert outcome(run, command, name).startswith(f"is {words}"), command
    for command in ("generate {}", "convert {} out"):
        assert ", not a network; expected the folder of a run" in outcome(run, command, name)


def test_a_network_given_as_data_and_the_reverse(run, tmp_path):
    shutil.copy(ADA, tmp_path / "net.pkl")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as z:
        z.writestr("a.png", encoded(picture((16, 16))))
    network = "is a network of NVIDIA's programs, not images; train --init-from takes networks"
    for command in ("train --data {}", "dataset {} out"):
        assert outcome(run, command, "net.pkl") == network
    for command in AS_NETWORK[:4]:
        assert outcome(run, command, "photos.zip").startswith("is a zip archive, not a network; ")
    run("convert", "net.pkl", "snapshot")
    snapshot = "is a snapshot, not images; train --init-from takes networks"
    assert outcome(run, "train --data {}", "snapshot") == snapshot


@pytest.mark.filterwarnings("ignore::stylegan.errors.Note")
def test_weights_alone(run, tmp_path):
    code, out, err = run("info", WEIGHTS)
    assert code == 0 and "state dict" in out and "the file holds no settings" in out, err
    code, out, err = run("info", WEIGHTS, "--like", ADA)
    assert code == 0 and "the file holds no settings" not in out, err
    for i, like in enumerate(([], ["--like", ADA])):
        code, out, err = run("generate", WEIGHTS, *like, "--seeds", "3", "--outdir", f"o{i}")
        assert code == 0, err
        code, out, err = run("convert", WEIGHTS, f"snapshot{i}", *like)
        assert code == 0, err
    names = [sorted((tmp_path / f"o{i}").iterdir()) for i in (0, 1)]
    assert [p.name for p in names[0]] == [p.name for p in names[1]] == ["seed0003.png"]
    sizes = ["--resolution", "32", "--channels", "4", "--dry-run"]
    code, out, err = run("train", "--init-from", WEIGHTS, "--like", ADA, *sizes)
    assert code == 0 and "G mapping" in out, err


@pytest.mark.parametrize(
    "command, message",
    [
        (f"generate {ADA} --like {ADA}", "sg2-32.pkl: holds its own settings; leave --like out"),
        (f"generate {WEIGHTS} --like nothing", "nothing: there is no such folder or file"),
        (f"generate {WEIGHTS} --like {FIXTURES / 'sg3t-64.pkl'}", "lacks synthesis.L0"),
        (f"train --like {ADA} --dry-run", "--like goes with --init-from"),
    ],
)
def test_like_that_does_not_go(run, command, message):
    code, out, err = run(*command.split())
    assert code == 2 and message in err and err.count("\n") == 1, err


@pytest.mark.parametrize(
    "command",
    [
        *("generate", "mix", "video", "metrics {} --metrics eqt", "spectra {} --out a.npz", "info"),
        *("convert {} out", "train --data", "train --init-from", "train --resume"),
        "dataset {} out",
    ],
)
def test_an_address_is_no_path(run, command):
    address = "https://example.org/a.pkl"
    command = command if "{}" in command else command + " {}"
    words = "is a web address; download the file first: curl -L -O https://example.org/a.pkl"
    assert outcome(run, command, address) == words
