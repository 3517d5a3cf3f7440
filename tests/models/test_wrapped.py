# SPDX-License-Identifier: Apache-2.0
"""Networks that PyTorch has wrapped, and their state dicts."""

import copy

import pytest
import torch
import torch.distributed as dist
from support.pipelines import arrays
from support.tiny import tiny, with_contrast
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from stylegan import Networks, Pipeline, build_discriminator, build_generator, load_networks
from stylegan.models.wrapped import plain_names, unwrapped

Z = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))


def eager_compile(network):
    return torch.compile(network, backend="eager")


WRAPPINGS = {
    "DataParallel": torch.nn.DataParallel,
    "compiled": eager_compile,
    "averaged": AveragedModel,
    "compiled DataParallel": lambda n: eager_compile(torch.nn.DataParallel(n)),
    "DataParallel compiled": lambda n: torch.nn.DataParallel(eager_compile(n)),
    "twice": lambda n: torch.nn.DataParallel(torch.nn.DataParallel(n)),
    "three times": lambda n: AveragedModel(torch.nn.DataParallel(eager_compile(n))),
}


def generator(name="stylegan2", seed=0):
    torch.manual_seed(seed)
    return with_contrast(build_generator(tiny(name)))


@pytest.fixture(params=WRAPPINGS)
def wrap(request):
    return WRAPPINGS[request.param]


@pytest.mark.parametrize("name", ["stylegan2", "stylegan3-t"])
def test_pipelines_and_snapshots_of_wrapped_networks(name, wrap, tmp_path):
    G, D = generator(name), build_discriminator(tiny(name))
    plain = Networks(tiny(name), {}, G_ema=G, D=D)
    networks = Networks(tiny(name), {}, G_ema=wrap(G), G=wrap(G), D=wrap(D))
    images = [arrays(Pipeline(n)(seeds=[1, 2]).images) for n in (plain, networks)]
    assert (images[0] == images[1]).all()
    assert type(networks.D) is type(D)
    networks.save(tmp_path)
    read = load_networks(tmp_path)
    for ours, theirs in ((read.G_ema, G), (read.D, D)):
        for key, value in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[key], value)


def test_state_dicts_of_wrapped_networks(wrap):
    for build in (generator, lambda **_: build_discriminator(tiny())):
        network, other = build(), build(seed=1)
        state = wrap(network).state_dict()
        names = list(state)
        other.load_state_dict(state)
        assert list(state) == names  # the caller's dict
        for ours, theirs in zip(other.state_dict().values(), network.state_dict().values()):
            assert torch.equal(ours, theirs)
        assert list(plain_names(state)) == list(network.state_dict())


def test_a_part_that_was_compiled():
    G, other = generator(), generator(seed=1)
    G.mapping = eager_compile(G.mapping)
    assert any("mapping._orig_mod." in name for name in G.state_dict())
    other.load_state_dict(G.state_dict())
    assert torch.equal(other.mapping.fc0.weight, G.mapping.fc0.weight)


def test_a_wrapped_network_loads_its_own_state():
    wrapped = torch.nn.DataParallel(generator())
    other = torch.nn.DataParallel(generator(seed=1))
    other.load_state_dict(wrapped.state_dict())
    assert torch.equal(other(Z), wrapped(Z))


def test_a_state_dict_that_does_not_fit_is_still_refused():
    state = {"module." + k: v for k, v in generator().state_dict().items()}
    state.pop("module.mapping.fc0.weight")
    state["module.mapping.extra"] = torch.zeros(1)
    with pytest.raises(RuntimeError, match="mapping.fc0.weight(.|\n)*mapping.extra"):
        generator().load_state_dict(state)
    both = {**generator().state_dict(), "module.mapping.w_avg": torch.zeros(8)}
    with pytest.raises(RuntimeError, match="module.mapping.w_avg"):
        generator().load_state_dict(both)


def test_data_parallel_on_a_cpu():
    G = generator()
    D = build_discriminator(tiny())
    assert torch.equal(torch.nn.DataParallel(G)(Z), G(Z))
    images = G(Z).detach()
    assert torch.equal(torch.nn.DataParallel(D)(images), D(images))


def test_distributed_data_parallel(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        G, D = generator(), build_discriminator(tiny())
        wrapped = DistributedDataParallel(G), DistributedDataParallel(D)
        logits = wrapped[1](wrapped[0](Z, noise_mode="const"))
        logits.mean().backward()
        assert G.mapping.fc0.weight.grad.abs().sum() > 0
        networks = Networks(tiny(), {}, G_ema=wrapped[0], D=wrapped[1])
        assert networks.G_ema is G and networks.D is D
        assert len(Pipeline(networks)(seeds=[1]).images) == 1
        other = generator(seed=1)
        other.load_state_dict(wrapped[0].state_dict())
        assert torch.equal(other(Z), G(Z))
    finally:
        dist.destroy_process_group()


def test_copies_accept_wrapped_names_too():
    G = copy.deepcopy(generator(seed=1))
    G.load_state_dict(torch.nn.DataParallel(generator()).state_dict())
    assert torch.equal(G(Z), generator()(Z))


def test_what_is_not_wrapped_stays():
    G = generator()
    assert unwrapped(G) is G and unwrapped(None) is None and unwrapped("x") == "x"
