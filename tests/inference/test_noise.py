# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from support.pipelines import arrays, pipeline

from stylegan import UserError
from stylegan.inference.noise import own_noise
from stylegan.inference.replay import GraphedSynthesis


def test_the_noise_is_that_of_the_block_only():
    pipe = pipeline()
    before = arrays(pipe(seeds=[1, 2]).images)
    state = {k: v.clone() for k, v in pipe.G.state_dict().items()}
    with own_noise(pipe, {"b4.conv1": torch.zeros(4, 4), "b8.conv0": torch.ones(1, 8, 8)}):
        inside = arrays(pipe(seeds=[1, 2]).images)
    with pytest.raises(KeyError), own_noise(pipe, {"b8.conv0": torch.ones(8, 8)}):
        raise KeyError
    assert (inside != before).any()
    assert (arrays(pipe(seeds=[1, 2]).images) == before).all()
    assert all(torch.equal(v, state[k]) for k, v in pipe.G.state_dict().items())
    with own_noise(pipe, {}):
        assert (arrays(pipe(seeds=[1, 2]).images) == before).all()


@pytest.mark.parametrize(
    "maps, message",
    [
        ({"b9.conv0": torch.zeros(8, 8)}, "noise.b9.conv0: the network has no such noise input"),
        ({"b8.torgb": torch.zeros(8, 8)}, "noise.b8.torgb: the network has no such noise input"),
        ({"": torch.zeros(8, 8)}, "the network has no such noise input"),
        ({"b8.conv0": torch.zeros(4, 4)}, r"noise.b8.conv0: expected \[8, 8\], got \[4, 4\]"),
        ({"b8.conv0": torch.zeros(2, 8, 8)}, r"expected \[8, 8\], got \[2, 8, 8\]"),
    ],
)
def test_maps_that_do_not_fit(maps, message):
    pipe = pipeline()
    with pytest.raises(UserError, match=message), own_noise(pipe, maps):
        pass


def test_recorded_and_compiled_networks_draw_it_too():
    pipe = pipeline()
    before = arrays(pipe(seeds=[1, 2]).images)

    def capture(synthesis, ws, noise_mode):
        images = synthesis(ws, noise_mode)  # a graph keeps the noise that it was recorded with
        return lambda ws: images

    def no_noise_but_its_own(ws, noise_mode, batch):
        raise AssertionError("compiled code keeps its constants")

    pipe.graphed = GraphedSynthesis(pipe.G.synthesis, capture)
    for _ in range(2):
        for _ in range(3):  # the graph is recorded at the second run
            assert (arrays(pipe(seeds=[1, 2]).images) == before).all()
        assert pipe.graphed.graphs
        with own_noise(pipe, {"b8.conv0": torch.ones(8, 8)}):
            drawn = [arrays(pipe(seeds=[1, 2]).images) for _ in range(3)]
        assert all((d != before).any() and (d == drawn[0]).all() for d in drawn)
    pipe.compiled, pipe.graphed = no_noise_but_its_own, None
    with own_noise(pipe, {"b8.conv0": torch.ones(8, 8)}):
        assert (arrays(pipe(seeds=[1, 2]).images) == drawn[0]).all()
    assert pipe.compiled is no_noise_but_its_own
