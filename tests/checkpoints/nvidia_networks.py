# SPDX-License-Identifier: Apache-2.0
"""Networks to write in NVIDIA's layout, and stand-ins for NVIDIA's classes."""

import sys
import types

import torch

from stylegan import build_discriminator, build_generator
from stylegan.checkpoints.nvidia.writer import write
from stylegan.networks import Networks, load_networks

CLASSES = {
    "stylegan2": "Generator MappingNetwork SynthesisNetwork SynthesisBlock SynthesisLayer "
    "ToRGBLayer FullyConnectedLayer Conv2dLayer Discriminator DiscriminatorBlock "
    "DiscriminatorEpilogue MinibatchStdLayer",
    "stylegan3": "Generator MappingNetwork SynthesisNetwork SynthesisInput SynthesisLayer "
    "FullyConnectedLayer",
}
CLASSES = {f"training.networks_{line}": names.split() for line, names in CLASSES.items()}


def networks_of(config, D=True, **fields):
    """New networks, with other numbers than 0 in every parameter."""
    torch.manual_seed(0)
    built = {"G_ema": build_generator(config)}
    if D:
        built["D"] = build_discriminator(config)
    with torch.no_grad():
        for network in built.values():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return Networks(config, {}, **built, **fields)


def images(network):
    z = torch.randn(2, network.z_dim, generator=torch.Generator().manual_seed(1))
    c = torch.eye(network.c_dim)[[0, 1]] if network.c_dim else None
    with torch.no_grad():
        return network(z, c, truncation_psi=0.7)


def assert_same_state(a, b):
    a, b = a.state_dict(), b.state_dict()
    assert a.keys() == b.keys()
    for key in a:
        assert a[key].dtype == b[key].dtype and torch.equal(a[key], b[key]), key


def reread(nets, tmp_path):
    write(nets, tmp_path / "a.pkl")
    return load_networks(tmp_path / "a.pkl", "cpu")


def modules(node, path):
    yield path, node
    for name, child in node.state["_modules"].items():
        yield from modules(child, f"{path}.{name}")


class stand_ins:
    """Makes the modules and classes that the files name importable. The classes have no code."""

    def __enter__(self):
        self.before = {k: sys.modules.get(k) for k in ("training", *CLASSES)}
        sys.modules["training"] = types.ModuleType("training")
        for module, names in CLASSES.items():
            sys.modules[module] = types.ModuleType(module)
            for name in names:
                kind = type(name, (torch.nn.Module,), {"__module__": module})
                setattr(sys.modules[module], name, kind)

    def __exit__(self, *error):
        for name, module in self.before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
