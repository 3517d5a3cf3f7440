# SPDX-License-Identifier: Apache-2.0
"""Seeds, latents, numbers and layers in every form that callers give them in."""

import numpy as np
import pytest
import torch
from support.pipelines import arrays, pipeline
from support.tiny import tiny

from stylegan import Networks, Pipeline, UserError, build_generator
from stylegan.metrics.equivariance import equivariance
from stylegan.metrics.pictures import of_network, open_pictures
from stylegan.models.stylegan3 import make_transform
from stylegan.video.journeys import frames, in_cells, keyframes_of_seeds

PIPE = pipeline()
NUM_WS = PIPE.G.num_ws
ALONE = arrays(PIPE(seeds=[3], truncation_psi=0.5).images)


@pytest.mark.parametrize(
    "seeds",
    [3, [3], (3,), range(3, 4), {3}, np.int64(3), np.uint32(3), np.array(3), np.array([3])]
    + [torch.tensor(3), torch.tensor([3]), [torch.tensor(3)], [np.array(3)], {3: "x"}.keys()],
    ids=repr,
)
def test_seeds(seeds):
    assert (arrays(PIPE(seeds=seeds, truncation_psi=0.5).images) == ALONE).all()
    assert torch.equal(PIPE.latents(seeds), PIPE.latents([3]))
    assert torch.equal(keyframes_of_seeds(PIPE, seeds), keyframes_of_seeds(PIPE, [3]))
    assert len(PIPE.mix(seeds, seeds, layers=seeds)) == 2


def test_a_generator_of_seeds():
    assert len(PIPE(seeds=(s for s in (1, 2))).images) == 2
    assert len(PIPE.mix((s for s in (1, 2)), iter([3]), layers=iter([0, 1]))) == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64])
def test_one_latent_and_latents_of_other_dtypes(dtype):
    z = torch.ones(8).to(dtype)
    ws = PIPE(latents=z).ws
    for form in (z[None], z.numpy(), z.tolist(), [z], z[None].tolist(), z[None].to_sparse()):
        assert torch.equal(PIPE(latents=form).ws, ws)
    one = PIPE(ws=ws[0])
    assert torch.equal(one.ws, ws)
    for form in (ws, ws.numpy(), ws[0].tolist(), ws.double(), [ws[0]], ws[0].numpy().astype("f8")):
        assert (arrays(PIPE(ws=form).images) == arrays(one.images)).all()


def test_numbers():
    expected = PIPE(seeds=[1, 2], truncation_psi=0.5, truncation_cutoff=2, batch=1).ws
    for kind in (np.array, torch.tensor):
        numbers = dict(truncation_psi=kind(0.5), truncation_cutoff=kind(2), batch=kind(1))
        assert torch.equal(PIPE(seeds=[1, 2], **numbers).ws, expected)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"seeds": []}, "seeds: expected at least one, got none"),
        ({"seeds": np.array([])}, "seeds: expected at least one, got none"),
        ({"seeds": 1.0}, "seeds: expected an integer, or a list of integers, got 1.0"),
        ({"seeds": [1.5]}, r"seeds: expected an integer, or a list of integers, got \[1.5\]"),
        ({"seeds": np.float32(3)}, "seeds: expected an integer, or a list of integers, got"),
        ({"seeds": "42"}, "seeds: expected an integer, or a list of integers, got '42'"),
        ({"seeds": True}, "seeds: expected an integer, or a list of integers, got True"),
        ({"seeds": [[1, 2]]}, "seeds: expected an integer, or a list of integers, got"),
        ({"seeds": np.ones((2, 2), int)}, "seeds: .* got ndarray of shape .2, 2., int64"),
        ({"seeds": torch.tensor([1.0])}, "seeds: expected an integer, or a list of integers, got"),
        ({"seeds": torch.tensor([True])}, "seeds: expected an integer, or a list of integers"),
        ({"seeds": [None]}, "seeds: expected an integer, or a list of integers, got"),
        ({"seeds": [2**32]}, "seed: expected an integer from 0 to 2.32 - 1, got 4294967296"),
        ({"seeds": np.int64(-1)}, "seed: expected an integer from 0 to 2.32 - 1, got -1"),
        ({"latents": np.zeros(7)}, r"latents: expected \[N, 8\], got \[7\]"),
        ({"latents": np.zeros((0, 8))}, r"latents: expected \[N, 8\], got \[0, 8\]"),
        ({"latents": []}, r"latents: expected \[N, 8\], got \[0\]"),
        ({"latents": 3}, r"latents: expected \[N, 8\], got \[\]"),
        ({"latents": np.full(8, np.nan)}, "latents: expected finite numbers"),
        ({"latents": [1e300] * 8}, "latents: expected finite numbers"),
        ({"latents": np.zeros(8, complex)}, "latents: expected real numbers, got torch.complex"),
        ({"latents": np.array(["a"] * 8)}, r"latents: expected numbers of shape \[N, 8\], got"),
        ({"latents": np.array([None] * 8)}, r"latents: expected numbers of shape \[N, 8\], got"),
        ({"latents": [[0] * 8, [0] * 7]}, r"latents: expected numbers of shape \[N, 8\], got"),
        ({"latents": torch.zeros(8, device="meta")}, "latents: .* got a tensor without values"),
        ({"latents": "a.npy"}, r"latents: expected numbers of shape \[N, 8\], got 'a.npy'"),
        ({"latents": (i for i in range(8))}, r"latents: expected numbers of shape \[N, 8\], got"),
        ({"ws": np.zeros((NUM_WS, 7))}, rf"ws: expected \[N, {NUM_WS}, 8\], got \[{NUM_WS}, 7\]"),
        ({"ws": torch.full((NUM_WS, 8), torch.inf)}, "ws: expected finite numbers"),
        ({"ws": np.zeros(8)}, rf"ws: expected \[N, {NUM_WS}, 8\], got \[8\]"),
        ({"seeds": 1, "truncation_psi": np.nan}, "truncation_psi: expected a finite number, got"),
        ({"seeds": 1, "truncation_psi": "0.7"}, "truncation_psi: expected a finite number, got"),
        ({"seeds": 1, "truncation_psi": 1j}, "truncation_psi: expected a finite number, got 1j"),
        ({"seeds": 1, "truncation_psi": [0.7]}, "truncation_psi: expected a finite number, got"),
        ({"seeds": 1, "truncation_psi": True}, "truncation_psi: expected a finite number, got"),
        ({"seeds": 1, "truncation_psi": 10**400}, "truncation_psi: expected a finite number, got"),
        ({"seeds": 1, "truncation_psi": None}, "truncation_psi: expected a finite number, got"),
        ({"seeds": 1, "truncation_cutoff": -1}, "truncation_cutoff: expected 0 or more, got -1"),
        ({"seeds": 1, "truncation_cutoff": 1.5}, "truncation_cutoff: expected an integer, got 1.5"),
        ({"seeds": 1, "batch": 0}, "batch: expected 1 or more, got 0"),
        ({"seeds": 1, "batch": 2.0}, "batch: expected an integer, got 2.0"),
        ({"seeds": 1, "noise_mode": "off"}, "noise_mode: expected one of const, random, none, got"),
        ({"seeds": 1, "label": 0}, "class 0: this network has no classes"),
    ],
)
def test_refused_in_one_line(arguments, message):
    with pytest.raises(UserError, match=message) as caught:
        PIPE(**arguments)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "run, message",
    [
        (lambda: PIPE.mix([], [1], [0]), "row_seeds: expected at least one"),
        (lambda: PIPE.mix([1], 1.5, [0]), "column_seeds: expected an integer, or a list"),
        (lambda: PIPE.mix([1], [2], [1.5]), r"layers: expected numbers from 0 to \d+, got \[1.5\]"),
        (lambda: PIPE.mix([1], [2], [-1]), r"layers: expected numbers from 0 to \d+, got \[-1\]"),
        (lambda: PIPE.mix([1], [2], "0"), r"layers: expected numbers from 0 to \d+, got '0'"),
        (lambda: Pipeline(PIPE.G), "Pipeline: expected Networks, got Generator"),
        (lambda: Pipeline("runs"), "Pipeline: expected Networks, got str"),
        (
            lambda: Pipeline(Networks(tiny(), {}, G_ema=torch.nn.Linear(1, 1))),
            "Pipeline: expected a Generator as G_ema, got Linear",
        ),
        (lambda: PIPE.map(latents=[1.5]), r"latents: expected \[N, 8\], got \[1\]"),
        (lambda: frames(PIPE, torch.zeros(2, NUM_WS, 8), 4), "keyframes: expected .cells, K,"),
        (lambda: frames(PIPE, keyframes(), 0), "count: expected 1 or more, got 0"),
        (lambda: frames(PIPE, keyframes(), 2.5), "count: expected an integer, got 2.5"),
        (lambda: frames(PIPE, keyframes() * np.nan, 4), "keyframes: expected finite numbers"),
        (lambda: frames(PIPE, keyframes(), 4, columns=0), "columns: expected 1 or more, got 0"),
        (lambda: in_cells(keyframes()[0], 1.5), "cells: expected an integer, got 1.5"),
        (lambda: make_transform((0.1, np.nan)), "translate: expected two numbers"),
        (lambda: make_transform((0.1,)), "translate: expected two numbers"),
        (lambda: make_transform(0.1), "translate: expected two numbers"),
        (lambda: make_transform(angle=np.inf), "angle: expected a finite number, got inf"),
        (lambda: make_transform(angle="20"), "angle: expected a finite number, got '20'"),
        (lambda: of_network(PIPE, 0), "images: expected 1 or more, got 0"),
        (lambda: of_network(PIPE, 2.5), "images: expected an integer, got 2.5"),
        (lambda: of_network(PIPE, 2, np.nan), "psi: expected a finite number, got nan"),
        (lambda: open_pictures("x", -3), "max_images: expected 1 or more, got -3"),
        (lambda: equivariance(stylegan3().G, ["eqr"], 0), "samples: expected 1 or more, got 0"),
        (lambda: equivariance(stylegan3().G, ["eqr"], 2, seed=-1), "seed: expected 0 or more"),
        (lambda: stylegan3()(seeds=1, rotate=np.nan), "rotate: expected a finite number, got nan"),
        (lambda: stylegan3()(seeds=1, translate=3), "translate: expected two numbers"),
    ],
)
def test_refused_elsewhere(run, message):
    with pytest.raises(UserError, match=message) as caught:
        run()
    assert "\n" not in str(caught.value)


def keyframes():
    return in_cells(keyframes_of_seeds(PIPE, [1, 2]), np.int64(1))


def stylegan3():
    config = tiny("stylegan3-t", resolution=32)
    return Pipeline(Networks(config, {}, G_ema=build_generator(config)))


def test_journeys_and_motions_take_numbers_of_other_libraries():
    tracked = keyframes().requires_grad_()
    assert len(list(frames(PIPE, tracked, np.int64(3), columns=torch.tensor(1)))) == 3
    assert len(list(frames(PIPE, keyframes().numpy(), 3))) == 3
    expected = make_transform((0.25, 0.5), 30)
    for kind in (np.array, torch.tensor):
        assert torch.equal(make_transform(kind([0.25, 0.5]), kind(30)), expected)
    moved = stylegan3()(seeds=1, translate=np.array([0.25, 0.0]), rotate=np.int64(0))
    assert len(moved.images) == 1
