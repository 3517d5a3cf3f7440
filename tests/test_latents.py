# SPDX-License-Identifier: Apache-2.0
"""Files of latents: shapes, what does not fit, and files that mean harm."""

import io
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from stylegan.errors import UserError
from stylegan.latents import read_latents, write_latents

NUM_WS, W_DIM = 6, 8
WS = np.random.RandomState(0).randn(3, NUM_WS, W_DIM).astype(np.float32)


class Evil:
    def __reduce__(self):
        return os.system, ("touch ran",)


def read(path):
    return read_latents(path, NUM_WS, W_DIM)


@pytest.mark.parametrize(
    "array, expected",
    [
        (WS, WS),
        (WS[:1], WS[:1]),
        (WS.astype(np.float64), WS),
        (WS.astype(np.float16), WS.astype(np.float16)),
        (np.arange(8), np.broadcast_to(np.arange(8.0), (1, 6, 8))),
        (WS[:, 0], np.broadcast_to(WS[:, :1], WS.shape)),
        (WS[:, :1], np.broadcast_to(WS[:, :1], WS.shape)),
        (np.broadcast_to(WS[0, :1], (6, 8)), np.broadcast_to(WS[:1, :1], (1, 6, 8))),
        (WS[None], WS),
        (WS[:, None], WS),
        (np.asfortranarray(WS), WS),
        (WS[:, ::-1], WS[:, ::-1]),
        (WS.astype(">f4"), WS),
    ],
)
@pytest.mark.parametrize("suffix", ["npy", "npz", "pt"])
def test_shapes_and_types(tmp_path, array, expected, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, array)
    elif suffix == "npz":
        np.savez(path, w=array, about=np.array("{}"))
    else:
        torch.save(torch.from_numpy(np.array(array, array.dtype.newbyteorder("="))), path)
    latents = read(path)
    assert latents.ws.dtype == torch.float32 and latents.ws.is_contiguous() and not latents.noise
    assert np.array_equal(latents.ws.numpy(), np.float32(expected))


def test_other_names_and_kinds_of_files(tmp_path):
    np.savez(tmp_path / "a.bin.npz", ws=WS, w=WS[:1])
    (tmp_path / "a.bin.npz").rename(tmp_path / "a.bin")  # recognised by its first bytes
    assert len(read(tmp_path / "a.bin").ws) == 3
    torch.save(torch.from_numpy(WS).bfloat16(), tmp_path / "b.dat")
    assert np.allclose(read(tmp_path / "b.dat").ws, WS, atol=0.02)
    with open(tmp_path / "c.pkl", "wb") as file:
        pickle.dump(WS, file)  # a plain pickle of NumPy
    assert np.array_equal(read(tmp_path / "c.pkl").ws, WS)
    torch.save({"a.png": torch.from_numpy(WS[0]), "b.png": torch.from_numpy(WS[1])}, tmp_path / "d")
    assert np.array_equal(read(tmp_path / "d").ws, WS[:2])


def test_what_is_written_is_read(tmp_path):
    noise = {"b8.conv0": torch.randn(1, 8, 8), "b4.conv1": torch.randn(3, 4, 4)}
    write_latents(tmp_path / "a.npz", torch.from_numpy(WS).double(), {"seeds": "0-2 é"}, noise)
    latents = read(tmp_path / "a.npz")
    assert np.array_equal(latents.ws.numpy(), WS) and latents.noise.keys() == noise.keys()
    assert all(torch.equal(latents.noise[name], noise[name]) for name in noise)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as content:
        assert str(content["about"]) == '{"seeds": "0-2 é"}'


@pytest.mark.parametrize(
    "save, message",
    [
        (lambda f: np.save(f, WS[0]), r"\[6, 8\] is one latent of 6 layers, or 6 latents"),
        (lambda f: np.save(f, WS[:, :5]), r"expected ws of shape \[N, 6, 8\], got \[3, 5, 8\]"),
        (lambda f: np.save(f, np.zeros(7)), r"expected ws of shape \[N, 6, 8\], got \[7\]"),
        (lambda f: np.save(f, np.float32(1)), r"expected ws of shape \[N, 6, 8\], got \[\]"),
        (lambda f: np.save(f, WS[:0]), r"got \[0, 6, 8\]"),
        (lambda f: np.save(f, WS * np.inf), "not finite"),
        (lambda f: np.save(f, WS.astype(complex)), "numbers, got complex128"),
        (lambda f: np.save(f, np.array(["a"])), "numbers, got <U1"),
        (lambda f: np.save(f, np.array([Evil()]), allow_pickle=True), "Object arrays cannot be"),
        (lambda f: np.savez(f, ws=np.array([Evil()])), "Object arrays cannot be loaded"),
        (lambda f: np.savez(f, z=WS[:, 0]), "expected an array named ws or w, got z"),
        (lambda f: np.savez(f, a=WS, b=WS), "expected an array named ws or w, got a, b"),
        (lambda f: np.savez(f), "it begins like neither of them"),
        (
            lambda f: np.savez(f, ws=WS, **{"noise.x": np.zeros(3)}),
            r"noise.x: expected \[N, H, W\]",
        ),
        (
            lambda f: np.savez(f, ws=WS, **{"noise.x": np.zeros((2, 4, 4))}),
            "expected 1 or 3, got 2",
        ),
        (lambda f: torch.save({"g_ema": torch.zeros(3)}, f), r"got \[1, 3\]"),
        (lambda f: torch.save({"a": 1, "b": 2}, f), "expected a tensor of latents, got a dict"),
        (
            lambda f: torch.save([torch.zeros(2), torch.zeros(3)], f),
            r"different shapes: \[2\], \[3\]",
        ),
        (lambda f: torch.save(7, f), "expected a tensor of latents, got a int"),
        (lambda f: torch.save({"a": Evil()}, f), "refuses the global posix.system"),
        (lambda f: pickle.dump(Evil(), f), "refuses the global posix.system"),
        (
            lambda f: torch.save({"latent": torch.zeros(8), "noise": [torch.zeros(4, 4)]}, f),
            "expected an .npy or .npz file of numbers",
        ),
        (lambda f: torch.save({"latent": torch.zeros(8), "noise": [1]}, f), "noise maps in lists"),
        (lambda f: f.write(b""), "the file is empty"),
        (lambda f: f.write(b"hello"), "it begins like neither of them"),
        (lambda f: f.write(b"\x93NUMPY\1\0"), "expected an .npy or .npz file of numbers"),
        (lambda f: f.write(b"\x80\4."), "damaged|truncated"),
        (
            lambda f: zipfile.ZipFile(f, "w").writestr("a.txt", "x"),
            "file of numbers|array named ws",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, monkeypatch, save, message):
    monkeypatch.chdir(tmp_path)
    with open("a.file", "wb") as file:
        save(file)
    with pytest.raises(UserError, match=message) as error:
        read("a.file")
    assert str(error.value).startswith("a.file: ") and "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def files():
    """The bytes of a file of each kind."""
    kinds = {"npy": lambda f: np.save(f, WS), "npz": lambda f: np.savez(f, ws=WS)}
    kinds["pt"] = lambda f: torch.save(torch.from_numpy(WS), f)
    for kind, save in kinds.items():
        buffer = io.BytesIO()
        save(buffer)
        yield kind, buffer.getvalue()


@pytest.mark.parametrize("kind, content", list(files()), ids=["npy", "npz", "pt"])
def test_damaged_files_are_read_or_refused(tmp_path, kind, content):
    """Cut off and changed anywhere: numbers or a UserError, and nothing else."""
    rng, path = np.random.RandomState(0), tmp_path / f"a.{kind}"
    refused = 0
    for i in range(150):
        data = bytearray(content)
        if i % 3:
            for _ in range(rng.randint(1, 8)):
                data[rng.randint(min(len(data), 300) if i % 2 else len(data))] = rng.randint(256)
        else:
            del data[rng.randint(len(data)) :]
        path.write_bytes(data)
        try:
            assert read(path).ws.shape[1:] == (NUM_WS, W_DIM)
        except UserError as e:
            refused += 1
            assert "\n" not in str(e)
    assert 20 < refused
    assert refused < 150 or kind == "npz"  # a zip has checksums


HEADER = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 100, 100), }"
BOMB = """
import resource, sys
from stylegan.errors import UserError
from stylegan.latents import read_latents
limit = 3 << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in sys.argv[1:]:
    try:
        read_latents(path, 6, 8)
    except UserError as e:
        print(e)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on memory")
def test_small_files_that_claim_to_be_large(tmp_path):
    head = HEADER + b" " * (118 - len(HEADER) - 1) + b"\n"
    npy = b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head + bytes(100)
    (tmp_path / "a.npy").write_bytes(npy)
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ws.npy", npy)
    with zipfile.ZipFile(tmp_path / "c.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("ws.npy", "w", force_zip64=True) as file:
            for _ in range(64):
                file.write(bytes(1 << 20))
    paths = [str(tmp_path / name) for name in ("a.npy", "b.npz", "c.npz")]
    child = subprocess.run([sys.executable, "-c", BOMB, *paths], capture_output=True, text=True)
    lines = child.stdout.splitlines()
    assert len(lines) == 3, child.stderr
    assert all(line.startswith(path) for line, path in zip(lines, paths))
