# SPDX-License-Identifier: Apache-2.0
"""What a pipeline hands out and takes in are ordinary objects, and so is the pipeline itself."""

import copy
import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file, save_model
from support.pipelines import arrays, pipeline
from support.tiny import tiny, with_contrast

from stylegan import Networks, Pipeline, build_discriminator, build_generator, load_networks
from stylegan.checkpoints.nvidia.writer import write
from stylegan.training.step import TrainingStep
from stylegan.video.journeys import frames, in_cells, keyframes_of_seeds

MODELS = ["stylegan2", "stylegan3-t"]


def of_model(name, seed=0, **fields):
    torch.manual_seed(seed)
    config = tiny(name, **fields)
    return Pipeline(Networks(config, {}, G_ema=with_contrast(build_generator(config))))


def handed_out():
    pipe = pipeline()
    vectors = torch.rand(3, 2)
    conditional = of_model("stylegan2", c_dim=2)
    conditional.networks = Networks(conditional.networks.config, {}, label_vectors=vectors)
    return {
        "ws": lambda: pipe(seeds=[1, 2]).ws,
        "ws of ws": lambda: pipe(ws=torch.zeros(2, pipe.G.num_ws, 8)).ws,
        "map": lambda: pipe.map(seeds=[1, 2]).ws,
        "map truncated": lambda: pipe.map(seeds=[1, 2], truncation_psi=0.5).ws,
        "map cut": lambda: pipe.map(seeds=[1, 2], truncation_psi=0.5, truncation_cutoff=2).ws,
        "latents": lambda: pipe.latents([1, 2]),
        "labels": lambda: conditional.labels(None, [1, 2]).c,
        "labels given": lambda: conditional.labels([0.5, 1], [1, 2]).c,
        "keyframes": lambda: keyframes_of_seeds(pipe, [1, 2]),
        "cells": lambda: in_cells(keyframes_of_seeds(pipe, [1, 2]), 1)[0],
        "mapping": lambda: pipe.G.mapping(torch.zeros(2, 8)).detach(),
        "label vectors": lambda: conditional.networks.label_vectors[:2],
    }


@pytest.mark.parametrize("inside", [False, True], ids=["", "inference_mode"])
@pytest.mark.parametrize("name", handed_out())
def test_tensors_are_ordinary(name, inside):
    with torch.inference_mode(inside and name != "mapping"):
        x = handed_out()[name]()
    assert x.is_contiguous() and not x.is_inference() and not x.requires_grad
    before = x.clone()
    x[0] = x[1]  # the first in-place write of an inference tensor raises
    x.numpy()[1].flat[0] = 7
    changed = x[1] != before[1]
    assert changed.sum() == 1  # one number, not one of every layer
    x.requires_grad_().sum().backward()


def test_latents_are_optimised():
    pipe = pipeline()
    w = pipe(seeds=[1]).ws.requires_grad_()
    pipe.G.synthesis(w).sum().backward()
    assert w.grad.abs().sum() > 0


def send(pipe):
    return pickle.loads(pickle.dumps(pipe))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, send])
def test_pipelines_are_copied(name, twin):
    pipe = of_model(name)
    images = arrays(pipe(seeds=[1, 2]).images)
    pipe.batch = 3
    again = twin(pipe)
    assert again.lock is not pipe.lock and again.batch == 3
    assert (arrays(again(seeds=[1, 2]).images) == images).all()
    if twin is not copy.copy:
        with torch.no_grad():
            next(again.G.synthesis.parameters()).zero_()
        assert (arrays(pipe(seeds=[1, 2]).images) == images).all()
    folded = [m for m in again.G.modules() if getattr(m, "folded", None)]
    assert folded  # as fast as the first


def test_a_copy_truncates_as_the_first():
    config = tiny(c_dim=2)
    networks = Networks(
        config, {"dataset": {"class_names": ["a", "b"]}}, G_ema=build_generator(config)
    )
    pipe = Pipeline(networks, truncation_center="class")
    expected = pipe.map(seeds=[1], label="b", truncation_psi=0.3).ws
    assert torch.equal(send(pipe).map(seeds=[1], label="b", truncation_psi=0.3).ws, expected)


def draw(pipe, results):
    results.put(arrays(pipe(seeds=[1, 2]).images))


def test_pipelines_go_to_other_processes():
    pipe = pipeline()
    images = arrays(pipe(seeds=[1, 2]).images)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=draw, args=(pipe, results))
    process.start()
    assert (results.get(timeout=120) == images).all()
    process.join()


@pytest.mark.parametrize("twin", [copy.deepcopy, send])
def test_networks_and_steps_are_copied(twin, tmp_path):
    config = tiny()
    step = TrainingStep(config, torch.device("cpu"))
    reals = torch.rand(4, 3, 16, 16)
    step.step(reals)
    again = twin(step)
    again.step(reals), step.step(reals)
    for ours, theirs in zip(again.G.parameters(), step.G.parameters()):
        assert torch.equal(ours, theirs)
    D = build_discriminator(config)
    assert torch.equal(twin(D)(reals), D(reals))
    Networks(config, {"kimg": 3}, G_ema=step.G_ema, G=step.G, D=step.D).save(tmp_path)
    nets = twin(load_networks(tmp_path))  # nothing is read yet
    assert torch.equal(nets.D(reals), step.D(reals)) and nets.meta == {"kimg": 3}


def test_networks_of_another_programs_file_are_copied(tmp_path):
    config = tiny()
    G = build_generator(config)
    path = tmp_path / "a.pkl"
    write(Networks(config, {}, G_ema=G, G=G, D=build_discriminator(config)), path)
    nets = send(load_networks(path))
    z = torch.randn(2, 8)
    torch.testing.assert_close(nets.G_ema(z), G(z))


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_saved_after_drawing(name, tmp_path):
    fresh = of_model(name).G.state_dict()
    before = {k: v.clone() for k, v in fresh.items()}
    pipe = of_model(name)
    pipe(seeds=[1, 2], truncation_psi=0.7)
    if name == "stylegan3-t":
        pipe(seeds=[1], rotate=20)
    state = pipe.G.state_dict()
    assert list(state) == list(before)
    for key, value in state.items():
        assert value.is_contiguous() and torch.equal(value, before[key]), key
    assert all(p.is_contiguous() for p in pipe.G.parameters())
    save_file(state, tmp_path / "a.safetensors")
    save_model(pipe.G, str(tmp_path / "b.safetensors"))
    assert (tmp_path / "a.safetensors").read_bytes()[-64:] == _bytes(before, tmp_path)[-64:]
    for file in ("a", "b"):
        for key, value in load_file(tmp_path / f"{file}.safetensors").items():
            assert torch.equal(value, before[key])


def _bytes(state, folder):
    save_file(state, folder / "c.safetensors")
    return (folder / "c.safetensors").read_bytes()


def load_other(pipe, other):
    pipe.G.load_state_dict(other.G.state_dict())


def assign_other(pipe, other):
    pipe.G.load_state_dict(other.G.state_dict(), assign=True)


def train_mode(pipe, other):
    pipe.G.train()
    with torch.no_grad():
        for ours, theirs in zip(pipe.G.parameters(), other.G.parameters()):
            ours.copy_(theirs)
        for ours, theirs in zip(pipe.G.buffers(), other.G.buffers()):
            ours.copy_(theirs)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("change", [load_other, assign_other, train_mode])
def test_drawing_follows_the_weights(name, change):
    pipe, other = of_model(name), of_model(name, seed=1)
    pipe(seeds=[1], truncation_psi=0.5)
    before = [m.folded for m in pipe.G.modules() if getattr(m, "folded", None)]
    change(pipe, other)
    images, expected = (arrays(p(seeds=[1, 2]).images) for p in (pipe, other))
    assert np.abs(images - expected).max() <= 1
    after = [m.folded for m in pipe.G.modules() if getattr(m, "folded", None)]
    assert not {id(c) for c in before} & {id(c) for c in after}  # computed anew, so still fast


def test_a_cast_after_drawing():
    pipe = pipeline()
    images = arrays(pipe(seeds=[1, 2]).images)
    for dtype in (torch.float64, torch.bfloat16, torch.float32):
        pipe.G.to(dtype)
        assert np.abs(arrays(pipe(seeds=[1, 2]).images) - images).max() <= 12


@pytest.mark.thorough
def test_compiled_drawing_follows_the_weights(monkeypatch):
    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *a, **k: compile(*a, backend="aot_eager", **k))
    pipe, other = pipeline(compile=True), of_model("stylegan2", seed=1)
    pipe(seeds=[1])
    pipe.G.load_state_dict(other.G.state_dict())
    images, expected = (arrays(p(seeds=[1]).images) for p in (pipe, other))
    assert np.abs(images - expected).max() <= 1
    assert (arrays(send(pipe)(seeds=[1]).images) == images).all()
    torch.compiler.reset()


def test_what_is_given_is_neither_kept_nor_changed():
    pipe = pipeline()
    seeds, z = [1, 2], pipe.latents([1, 2])
    ws, c = pipe.map(seeds).ws, z.clone()
    out = pipe(ws=ws)
    kept = out.ws.clone()
    ws.zero_()
    assert torch.equal(out.ws, kept)
    first = arrays(pipe(latents=z, truncation_psi=0.5).images)
    assert torch.equal(z, c) and seeds == [1, 2]
    array = z.numpy().copy()
    array.flags.writeable = False
    assert (arrays(pipe(latents=array, truncation_psi=0.5).images) == first).all()
    tracked = z.clone().requires_grad_()
    assert (arrays(pipe(latents=tracked, truncation_psi=0.5).images) == first).all()
    assert tracked.requires_grad and tracked.grad is None
    with torch.inference_mode():
        frozen = z.clone()
    assert (arrays(pipe(latents=frozen, truncation_psi=0.5).images) == first).all()
    keyframes = in_cells(keyframes_of_seeds(pipe, [1, 2]), 1)
    video = frames(pipe, keyframes, 4)
    next(video)
    keyframes.zero_()
    assert np.ptp(arrays(list(video)), axis=0).max() > 0


def test_networks_built_in_inference_mode():
    with torch.inference_mode():
        config = tiny()
        pipe = Pipeline(Networks(config, {}, G_ema=build_generator(config)))
    assert not pipe(seeds=1).ws.is_inference()
    assert (arrays(send(pipe)(seeds=2).images) == arrays(pipe(seeds=2).images)).all()


@pytest.mark.parametrize("kind", ["snapshot", "file"])
def test_networks_read_in_inference_mode(kind, tmp_path):
    nets = pipeline().networks
    if kind == "file":
        write(nets, tmp_path / "net.pkl")
    else:
        nets.save(tmp_path)
    with torch.inference_mode():
        G = load_networks(tmp_path / "net.pkl" if kind == "file" else tmp_path, "cpu").G_ema
    assert not any(t.is_inference() for t in G.state_dict().values())
    G(torch.zeros(1, 8), truncation_psi=0.5).sum()
    w = torch.zeros(1, G.num_ws, 8, requires_grad=True)
    G.synthesis(w).sum().backward()  # inference tensors cannot be saved for that


def test_the_callers_network_keeps_its_flags():
    config = tiny()
    G = build_generator(config).train()
    pipe = Pipeline(Networks(config, {}, G_ema=G))
    pipe(seeds=[1])
    assert G.training and all(p.requires_grad for p in G.parameters())
    assert all(p.grad is None for p in G.parameters())
