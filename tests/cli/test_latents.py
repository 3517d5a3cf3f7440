# SPDX-License-Identifier: Apache-2.0
"""Latents come out of generate, mix and video, and go in again."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from support.snapshots import classes, snapshot

from stylegan import Pipeline
from stylegan.latents import read_latents


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return snapshot(tmp_path_factory.mktemp("plain") / "net")


@pytest.fixture(scope="module")
def stylegan3(tmp_path_factory):
    return snapshot(tmp_path_factory.mktemp("plain3") / "net", name="stylegan3-t")


def ok(result):
    code, out, err = result
    assert code == 0, err
    return out, err


def pixels(path):
    with Image.open(path) as image:
        return image.tobytes()


@pytest.mark.parametrize("options", [[], ["--trunc", "0.7"], ["--trunc", "0.5", "--batch", "1"]])
@pytest.mark.parametrize("network", ["plain", "stylegan3", "of_classes"])
def test_round_trip(run, request, tmp_path, network, options):
    if network == "of_classes":
        net = classes(tmp_path / "net")
        options = [*options, "--class", "dog"]
    else:
        net = request.getfixturevalue(network)
    ok(run("generate", net, "--seeds", "0-3", *options, "--save-ws", "new/ws.npz"))
    batch = options[options.index("--batch") :][:2] if "--batch" in options else []
    out, _ = ok(run("generate", net, "--latents", "new/ws.npz", *batch, "--outdir", "again"))
    assert out == "4 images in again\n"
    first = sorted((tmp_path / "out").iterdir())
    again = sorted((tmp_path / "again").iterdir())
    assert [p.name for p in again] == [f"ws-000{i}.png" for i in range(4)]
    assert [pixels(p) for p in first] == [pixels(p) for p in again]
    assert len({pixels(p) for p in first}) == 4
    with np.load("new/ws.npz") as content:
        assert sorted(content.files) == ["about", "w", "ws"]
        assert (content["w"] == content["ws"]).all() and content["ws"].dtype == np.float32
        about = json.loads(str(content["about"]))
    assert about["seeds"] == "0,1,2,3" and about["command"] == "generate"


def test_the_same_command_writes_the_same_bytes(run, plain, tmp_path):
    for name in ("a", "b"):
        ok(run("generate", plain, "--seeds", "0-1", "--save-ws", f"{name}.npz", "--outdir", name))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert pixels("a/seed0001.png") == pixels("b/seed0001.png")
    assert (tmp_path / "a/seed0001.png").read_bytes() == (tmp_path / "b/seed0001.png").read_bytes()


@pytest.mark.parametrize(
    "save",
    [
        lambda p, ws: np.savez(p.with_suffix(".npz"), w=ws),  # NVIDIA's projected_w.npz
        lambda p, ws: np.savez_compressed(p.with_suffix(".npz"), anything=ws),
        lambda p, ws: np.save(p.with_suffix(".npy"), ws[:, 0]),
        lambda p, ws: np.save(p.with_suffix(".npy"), ws[:, :1].astype(np.float64)),
        lambda p, ws: torch.save(torch.from_numpy(ws), p.with_suffix(".pt")),  # pSp, e4e, PTI
        lambda p, ws: torch.save(torch.nn.Parameter(torch.from_numpy(ws)), p.with_suffix(".pt")),
        lambda p, ws: torch.save(list(torch.from_numpy(ws)), p.with_suffix(".pt")),
        lambda p, ws: torch.save({"a": torch.from_numpy(ws[:1])}, p.with_suffix(".pt")),
        lambda p, ws: torch.save(
            torch.from_numpy(ws), p.with_suffix(".pt"), _use_new_zipfile_serialization=False
        ),
    ],
    ids=["npz-w", "npz-one", "npy-NW", "npy-N1W", "pt", "pt-parameter", "list", "dict", "legacy"],
)
def test_latents_of_others(run, plain, tmp_path, save):
    ws = Pipeline.from_pretrained(plain, "cpu")(seeds=[5]).ws.numpy()
    save(tmp_path / "projected_w", ws)
    (path,) = tmp_path.glob("projected_w.*")
    out, _ = ok(run("generate", plain, "--latents", path))
    assert out == "1 image in out\n"
    ok(run("generate", plain, "--seeds", "5"))
    a, b = (np.asarray(Image.open(f"out/{n}.png")) for n in ("projected_w-0000", "seed0005"))
    assert np.abs(a.astype(int) - b).max() <= 1


def test_files_add_up(run, plain, tmp_path):
    for name, seeds in (("a", "0-1"), ("b", "5")):
        ok(run("generate", plain, "--seeds", seeds, "--save-ws", f"{name}.npz"))
    args = ["--latents", "a.npz", "--latents", "b.npz"]
    out, _ = ok(run("generate", plain, *args, "--outdir", "both", "--save-ws", "all.npz"))
    names = [p.name for p in sorted((tmp_path / "both").iterdir())]
    assert names == ["a-0000.png", "a-0001.png", "b-0000.png"]
    assert pixels("both/b-0000.png") == pixels("out/seed0005.png")
    assert len(np.load("all.npz")["ws"]) == 3
    out, _ = ok(run("generate", plain, "--latents", "b.npz", "--latents", "b.npz", "--overwrite"))
    assert out == "1 image in out\n"
    ok(run("generate", plain, *args, "--grid", "--outdir", "sheet"))
    with Image.open("sheet/grid.png") as image:
        assert image.text["latents"] == "a.npz, b.npz" and "trunc" not in image.text
    (tmp_path / "other").mkdir()
    (tmp_path / "a.npz").rename(tmp_path / "other" / "b.npz")
    code, _, err = run("generate", plain, "--latents", "other/b.npz", "--latents", "b.npz")
    assert code == 2 and "its images have the file names of those of other/b.npz" in err


def test_mix_takes_and_writes_latents(run, plain, tmp_path):
    ok(run("generate", plain, "--seeds", "1-2", "--save-ws", "rows.npz"))
    ok(run("mix", plain, "--rows", "1-2", "--columns", "5", "--layers", "0-2", "--out", "a.png"))
    args = ["--columns", "5", "--layers", "0-2", "--save-ws", "mixed.npz", "--out", "b.png"]
    ok(run("mix", plain, "--row-latents", "rows.npz", *args))
    assert pixels("a.png") == pixels("b.png")
    ok(run("generate", plain, "--latents", "mixed.npz", "--grid", "--columns", "1"))
    assert len(read_latents("mixed.npz", 6, 8).ws) == 2 + 1 + 2
    with Image.open("b.png") as image:
        assert image.text["rows"] == "rows.npz" and image.text["columns"] == "5"
    ok(run("mix", plain, "--column-latents", "rows.npz", "--rows", "1", "--out", "c.png"))
    args = ["--row-latents", "rows.npz", "--column-latents", "rows.npz"]
    ok(run("mix", plain, *args, "--out", "d.png"))
    code, _, err = run("mix", plain, *args, "--trunc", "0.5", "--out", "e.png")
    assert code == 2 and "--trunc does not go with --row-latents and --column-latents" in err


def test_video_takes_and_writes_latents(run, plain, tmp_path):
    args = ["--frames", "2", "--no-loop"]
    ok(run("video", plain, "--seeds", "1-3", *args, "--out", "a.webp", "--save-ws", "a.npz"))
    np.savez("b.npz", w=np.load("a.npz")["ws"][2:])
    np.save("c.npy", np.load("a.npz")["ws"][:2])
    files = ["--keyframes", "c.npy", "--keyframes", "b.npz"]
    ok(run("video", plain, *files, *args, "--out", "b.webp"))
    with Image.open("a.webp") as a, Image.open("b.webp") as b:
        assert a.n_frames == b.n_frames == 5 and a.tobytes() == b.tobytes()


def test_noise_maps_of_a_file_are_drawn(run, plain, stylegan3):
    pipe = Pipeline.from_pretrained(plain, "cpu")
    ws = pipe(seeds=[1, 2]).ws.numpy()
    generator = np.random.RandomState(0)
    noise = {"noise.b8.conv0": generator.randn(8, 8).astype(np.float32)}
    np.savez("a.npz", ws=ws, **noise)
    _, err = ok(run("generate", plain, "--latents", "a.npz", "--save-ws", "again.npz"))
    assert not err
    pipe.G.synthesis.b8.conv0.noise_const.copy_(torch.from_numpy(noise["noise.b8.conv0"]))
    expected = pipe(ws=ws).images
    assert pixels("out/a-0001.png") == expected[1].tobytes()
    assert pixels("out/a-0001.png") != Pipeline.from_pretrained(plain)(ws=ws).images[1].tobytes()
    assert read_latents("again.npz", 6, 8).noise["b8.conv0"].shape == (1, 8, 8)
    # One map for each row, as rosinality's projector learns them, in the order of its layers.
    maps = [
        [torch.randn(1, 1, s, s, generator=torch.Generator().manual_seed(i + s)) for s in (4, 8, 8)]
        for i in range(2)
    ]
    rows = {
        f"{i}.png": {"img": torch.zeros(3), "latent": torch.from_numpy(ws[i, 0]), "noise": maps[i]}
        for i in range(2)
    }
    torch.save(rows, "b.pt")
    ok(run("generate", plain, "--latents", "b.pt", "--save-ws", "b.npz"))
    for name, m in zip(("b4.conv1", "b8.conv0", "b8.conv1"), maps[1]):
        pipe.G.synthesis.get_submodule(name).noise_const.copy_(m[0, 0])
    assert pixels("out/b-0001.png") == pipe(ws=ws[1:]).images[0].tobytes()
    assert read_latents("b.npz", 6, 8).noise["b8.conv1"].shape == (2, 8, 8)
    _, err = ok(run("mix", plain, "--row-latents", "a.npz"))
    assert err == "note: a.npz holds noise maps, which mix does not use\n"
    np.savez("c.npz", ws=np.zeros((1, 16, 8), np.float32), **noise)
    _, err = ok(run("generate", stylegan3, "--latents", "c.npz"))
    assert err == "note: c.npz holds noise maps, but this network has no noise inputs\n"


@pytest.mark.parametrize(
    "args, message",
    [
        ("--latents two.npy", r"[6, 8] is one latent of 6 layers, or 6 latents; save it as [1, 6"),
        ("--latents 18.npz", "18.npz: expected ws of shape [N, 6, 8], got [1, 18, 512]"),
        ("--latents z.npz", "z.npz: expected an array named ws or w, got z"),
        ("--latents text.npz", "text.npz: expected an .npy or .npz file of numbers"),
        ("--latents nothing.npz", "nothing.npz: cannot be read (No such file or directory)"),
        ("--latents folder", "folder' is a directory"),
        ("--latents noise.npz", "noise.b8.conv0: expected [8, 8], got [4, 4]"),
        ("--latents name.npz", "noise.b9.conv0: the network has no such noise input"),
        ("--latents ws.npz --seeds 3", "--seeds does not go with --latents"),
        ("--latents ws.npz --trunc 0.7", "--trunc does not go with --latents"),
        ("--latents ws.npz --class 1", "--class does not go with --latents"),
        ("--save-ws=", "expected a name that ends in .npz, got"),
        ("--save-ws ws.pt", "expected a name that ends in .npz, got ws.pt"),
        ("--save-ws ws.npz", "ws.npz: already exists; --overwrite replaces it, --save-ws writes"),
    ],
)
def test_wrong_input_is_one_line(run, plain, tmp_path, args, message):
    ws = np.random.RandomState(0).randn(1, 6, 8)
    np.save("two.npy", ws[0])
    np.savez("18.npz", w=np.zeros((1, 18, 512)))
    np.savez("z.npz", z=np.zeros((1, 8)))
    np.savez("ws.npz", ws=ws)
    np.savez("noise.npz", ws=ws, **{"noise.b8.conv0": np.zeros((4, 4))})
    np.savez("name.npz", ws=ws, **{"noise.b9.conv0": np.zeros((4, 4))})
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "folder").mkdir()
    code, out, err = run("generate", plain, *args.split())
    assert code == 2 and message in err and err.count("\n") == 1 and not out, err
