# SPDX-License-Identifier: Apache-2.0
"""Pipelines and networks are moved to devices and dtypes, described, and saved."""

import pickle

import numpy as np
import pytest
import torch
from support.pipelines import arrays, pipeline
from support.tiny import tiny, with_contrast

from stylegan import (
    Config,
    Networks,
    Pipeline,
    UserError,
    build_discriminator,
    build_generator,
    load_networks,
)
from stylegan.checkpoints.nvidia.writer import write

DTYPES = [torch.float64, torch.bfloat16, torch.float16, torch.float32]


def networks(name="stylegan2", meta=None, **fields):
    config = tiny(name, **fields)
    torch.manual_seed(0)
    G, other = (with_contrast(build_generator(config)) for _ in range(2))
    return Networks(config, meta or {}, G_ema=G, G=other, D=build_discriminator(config))


@pytest.mark.parametrize("name", ["stylegan2", "stylegan3-t"])
def test_to_a_dtype_and_back(name):
    pipe = Pipeline(networks(name))
    images = arrays(pipe(seeds=[1, 2]).images)
    for dtype in DTYPES:
        assert pipe.to(dtype) is pipe and pipe.networks.dtype == dtype
        assert next(pipe.networks.D.parameters()).dtype == dtype
        folded = [m for m in pipe.G.modules() if getattr(m, "folded", None)]
        assert folded and pipe.dtype == (dtype if dtype == torch.float64 else torch.float32)
        assert np.abs(arrays(pipe(seeds=[1, 2]).images) - images).max() <= 12
    assert pipe(seeds=1).ws.dtype == torch.float32


def test_all_that_was_made_of_the_weights_is_made_anew(monkeypatch):
    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **how: compile(f, backend="eager"))
    meta = {"dataset": {"class_names": ["a", "b"]}}
    pipe = Pipeline(networks(meta=meta, c_dim=2), compile=True, truncation_center="class")
    pipe.map(seeds=1, label="a", truncation_psi=0.5)
    pipe.batch = 3
    before = pipe.compiled, pipe.watch, pipe.centers
    pipe.to("cpu", torch.float64)
    assert not {id(x) for x in before} & {id(pipe.compiled), id(pipe.watch), id(pipe.centers)}
    assert pipe.centers.means == {} and pipe.batch > 3
    assert pipe.map(seeds=1, label="a", truncation_psi=0.5).ws.dtype == torch.float64
    torch.compiler.reset()


@pytest.mark.parametrize("inside", [False, True], ids=["", "inference_mode"])
def test_a_moved_pipeline_is_sent_and_trained_on(inside):
    pipe = pipeline()
    with torch.inference_mode(inside):
        pipe.to(torch.float64)
    again = pickle.loads(pickle.dumps(pipe))
    assert again.dtype == torch.float64
    assert (arrays(again(seeds=1).images) == arrays(pipe(seeds=1).images)).all()
    pipe.G.requires_grad_().synthesis(pipe(seeds=1).ws).sum().backward()


def test_networks_that_are_read_later_go_there_too(tmp_path):
    networks().save(tmp_path)
    nets = load_networks(tmp_path, "cpu").to(dtype=torch.float16)
    assert nets.device == torch.device("cpu") and nets.dtype == torch.float16
    assert {p.dtype for p in nets.D.parameters()} == {torch.float16}
    nets.to(torch.float32)
    assert {p.dtype for n in (nets.D, nets.G) for p in n.parameters()} == {torch.float32}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
def test_to_a_gpu_and_back():
    pipe = pipeline()
    images = arrays(pipe(seeds=range(4)).images)
    for device in ("cuda", "cpu", 0):
        pipe.to(device)
        assert (pipe.graphed is None) == (pipe.device.type == "cpu")
        for _ in range(3):  # a graph is captured at the second run
            assert np.abs(arrays(pipe(seeds=range(4)).images) - images).max() <= 12
        tensor = pipe(seeds=1, output_type="pt").images
        assert tensor.device.type == pipe.device.type == pipe.networks.device.type
        assert not tensor.is_inference()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("cuda",), "^device 'cuda': not available here"),
        ((0,), "^device 'cuda:0': not available here"),
        ((torch.device("cuda", 1),), "^device 'cuda:1': not available here"),
        (("gpu",), "^device 'gpu': expected auto, cpu, cuda"),
        (("meta",), "^device 'meta': expected auto, cpu, cuda"),
        ((), "^to: expected a device, a dtype or both, got neither"),
        ((torch.int8,), "^dtype: expected one of torch.float32, .*, got torch.int8"),
        (("cpu", "half"), "^dtype: expected one of torch.float32, .*, got 'half'"),
        (("float16",), "^to: expected torch.float16, not in quotes, as a dtype"),
        ((1.5,), "^device: expected a name such as cuda or cpu, got float"),
        ((True,), "^device: expected a name"),
    ],
)
def test_places_that_do_not_exist(arguments, message):
    if "cuda" in message and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    pipe = pipeline()
    for movable in (pipe, pipe.networks):
        with pytest.raises(UserError, match=message) as e:
            movable.to(*arguments)
        assert "\n" not in str(e.value)
    assert pipe.device.type == "cpu" and len(pipe(seeds=1)) == 1


# Words


def test_reprs(tmp_path):
    named = {"dataset": {"class_names": ["a", "b"]}, "kimg": 43.008}
    nets = networks(meta=named, c_dim=2)
    of = "StyleGAN2 16x16 RGB, 2 classes, 43 kimg"
    assert repr(nets) == f"Networks(G_ema G D, {of}, on cpu)"
    assert repr(Pipeline(nets)) == f"Pipeline({of}, on cpu)"
    nets.save_pretrained(tmp_path / "a")
    saved = load_networks(tmp_path / "a", "cpu")
    assert repr(saved) == f"Networks(G_ema G D, {of}, {tmp_path / 'a'}, on cpu)"
    assert saved._loaded == {}  # nothing was read for that
    half = Pipeline(saved).to(torch.float16)
    assert repr(half) == f"Pipeline({of}, {tmp_path / 'a'}, on cpu in float16)"
    vectors = networks(meta={"dataset": {"images": 9}}, c_dim=3, channels=1)
    assert repr(vectors) == "Networks(G_ema G D, StyleGAN2 16x16 grey, labels of 3 numbers, on cpu)"
    three = networks("stylegan3-r", {"kimg": "many"}, channels=4)
    assert repr(three) == "Networks(G_ema G D, StyleGAN3-R 16x16 RGBA, on cpu)"


@pytest.mark.parametrize("name", ["stylegan2", "stylegan3-t"])
def test_print_of_a_network_shows_facts_and_its_layers(name):
    nets = networks(name, c_dim=3)
    text = repr(nets.G).splitlines()
    title = {"stylegan2": "StyleGAN2", "stylegan3-t": "StyleGAN3-T"}[name]
    facts = f"  {title} 16x16 RGB, z 8, w 8, {nets.G.num_ws} ws, c_dim 3, "
    assert text[0] == "Generator(" and text[1].startswith(facts)
    count = sum(p.numel() for p in nets.G.parameters())
    assert text[1].endswith(f"{count:,} parameters")
    assert "    (fc0): EqualLinear(16, 8, act=lrelu)" in text
    assert any(line.startswith("  (synthesis): Synthesis(") for line in text)
    assert not any(line.endswith("()") for line in text)  # every layer tells its sizes
    D = repr(nets.D)
    assert "  StyleGAN2 16x16 RGB, resnet, c_dim 3, " in D
    assert "kernel=1, act=lrelu)" in D and "down=2" in D


def test_settings_show_what_is_not_the_default():
    config = tiny(c_dim=2)
    text = repr(config)
    assert "resolution=(16, 16)" in text and "conv_clamp" not in text
    names = vars(__import__("stylegan.config", fromlist=["x"]))
    assert eval(text, dict(names)) == config
    assert repr(Config()) == "Config()"


def test_names_of_other_libraries():
    pipe = pipeline()
    with pytest.raises(AttributeError, match=r"no 'generate'; write pipe\(seeds=\[1, 2\]\)"):
        _ = pipe.generate
    with pytest.raises(AttributeError, match="^a pipeline has no 'shape'$"):
        _ = pipe.shape
    with pytest.raises(AttributeError, match=r"no 'half'; write pipe.to\(torch.float16\)"):
        pipe.half()
    assert not hasattr(pipe, "_repr_html_")
    for wrong, helps in ((pipe.G, "Networks"), ("runs", r"Pipeline.from_pretrained\('runs'\)")):
        with pytest.raises(UserError, match=f"expected Networks, got .*; {helps}"):
            Pipeline(wrong)


# Files


@pytest.mark.parametrize("name", ["stylegan2", "stylegan3-t"])
def test_saved_networks_draw_the_same_bits(name, tmp_path):
    meta = {"dataset": {"class_names": ["a", "b"], "class_counts": [3, 0]}, "kimg": 2}
    pipe = Pipeline(networks(name, meta, c_dim=2))
    pipe.G.mapping.w_avg.normal_()
    expected = pipe(seeds=range(4), truncation_psi=0.7)
    assert pipe.save_pretrained(tmp_path / "new" / "a") == tmp_path / "new" / "a"
    again = Pipeline.from_pretrained(tmp_path / "new" / "a", "cpu")
    images = again(seeds=range(4), truncation_psi=0.7)
    assert (arrays(images.images) == arrays(expected.images)).all()
    assert images.labels == [0, 0, 0, 0] and again.networks.meta == meta
    assert again.networks.D is None and again.networks.G is None
    pipe.networks.save_pretrained(tmp_path / "all")
    whole = Networks.from_pretrained(tmp_path / "all", "cpu")
    reals, c = torch.rand(2, 3, 16, 16), torch.eye(2)
    assert torch.equal(whole.D(reals, c), pipe.networks.D(reals, c))
    z = pipe.latents([1, 2])
    with torch.no_grad():
        assert torch.equal(whole.G(z, c), pipe.networks.G(z, c))


def test_networks_of_another_program_are_saved(tmp_path):
    write(networks(), tmp_path / "a.pkl")
    pipe = Pipeline.from_pretrained(tmp_path / "a.pkl", "cpu")
    pipe.save_pretrained(tmp_path / "a")
    again = Pipeline.from_pretrained(tmp_path / "a", "cpu")
    assert (arrays(again(seeds=[1, 2]).images) == arrays(pipe(seeds=[1, 2]).images)).all()
    assert again.networks.meta["source"]["file"] == "a.pkl"
    vectors = torch.rand(3, 2)
    config = tiny(c_dim=2)
    nets = Networks(config, {}, G=build_generator(config), label_vectors=vectors)
    Pipeline(nets).save_pretrained(tmp_path / "b")  # without G_ema
    with pytest.warns(UserWarning, match="no averaged generator"):
        again = load_networks(tmp_path / "b", "cpu")
    assert torch.equal(again.label_vectors, vectors) and again.G is not None


def test_half_precision_is_saved(tmp_path):
    pipe = pipeline().to(torch.bfloat16)
    images = arrays(pipe(seeds=[1, 2]).images)
    pipe.save_pretrained(tmp_path / "a")
    again = Pipeline.from_pretrained(tmp_path / "a", "cpu")
    assert (arrays(again(seeds=[1, 2]).images) == images).all()


def test_nothing_is_replaced_unasked(tmp_path):
    pipe, other = pipeline(), Pipeline(networks())
    folder = tmp_path / "a"
    folder.mkdir()  # an empty one is filled
    pipe.save_pretrained(folder)
    with pytest.raises(UserError, match="a: already exists; overwrite=True replaces it"):
        other.save_pretrained(folder)
    assert load_networks(folder, "cpu").meta == {}
    images = arrays(other(seeds=1).images)
    other.networks.save_pretrained(folder, overwrite=True)
    again = Pipeline.from_pretrained(folder, "cpu")
    assert (arrays(again(seeds=1).images) == images).all()
    again.networks.save_pretrained(folder, overwrite=True)  # onto itself
    assert load_networks(folder, "cpu").D is not None
    (folder / "training_state.pt").write_text("")
    with pytest.raises(UserError, match="holds training_state.pt, which is no network; choose"):
        other.save_pretrained(folder, overwrite=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="file: is a file; give the name of a folder"):
        other.save_pretrained(tmp_path / "file", overwrite=True)
    with pytest.raises(UserError, match="^networks: there is none of G to save"):
        pipe.networks.save_pretrained(tmp_path / "b", networks=["G"])
    assert not (tmp_path / "b").exists()


def test_what_fails_in_the_middle_leaves_nothing(tmp_path, monkeypatch):
    def fails(*args, **how):
        raise OSError(28, "No space left on device")

    pipe = pipeline()
    pipe.save_pretrained(tmp_path / "a")
    monkeypatch.setattr("stylegan.snapshot_files.save_file", fails)
    for folder in ("a", "b"):
        with pytest.raises(OSError, match="No space left"):
            pipe.save_pretrained(tmp_path / folder, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert len(Pipeline.from_pretrained(tmp_path / "a", "cpu")(seeds=1)) == 1
