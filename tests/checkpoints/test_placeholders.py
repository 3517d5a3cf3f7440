# SPDX-License-Identifier: Apache-2.0
"""One part of a file that cannot be read loses no other."""

import argparse
import collections
import datetime
import decimal
import enum
import fractions
import json
import logging
import pathlib
import pickle
import random
import sys
import types
import uuid

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from checkpoints import tensorflow_pickles
from checkpoints.nvidia_pickles import ADA, STYLEGAN3, Persistent, dump, of_class, published, write
from checkpoints.small_networks import check, discriminator, generator, small_D, small_G
from stylegan import CheckpointError, load_networks
from stylegan.checkpoints.open import open_checkpoint
from stylegan.checkpoints.pickle.container import read_root
from stylegan.checkpoints.pickle.nodes import Node
from stylegan.cli.main import program

PROTOCOLS = (0, 1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def G():
    return generator()


class Color(enum.Enum):
    RED = 1


class Config(dict):
    """A dictionary with attributes, as configuration libraries have it."""


class Values(list):
    pass


class Slots:
    __slots__ = ("a", "b")


for _kind, _path in ((Color, "fork.config"), (Config, "omegaconf.dictconfig"),
                     (Values, "omegaconf.listconfig"), (Slots, "attr_like.made")):  # fmt: skip
    _kind.__module__ = _path


@pytest.fixture
def modules(monkeypatch):
    """Makes the modules of the classes above importable, which is what writing them takes."""
    for kind in (Color, Config, Values, Slots):
        module = types.ModuleType(kind.__module__)
        setattr(module, kind.__name__, kind)
        parent = kind.__module__.partition(".")[0]
        monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
        monkeypatch.setitem(sys.modules, kind.__module__, module)


def slots():
    result = Slots()
    result.a = result.b = 1
    return result


OTHERS = {
    "datetime": lambda: datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc),
    "date and timedelta": lambda: [datetime.date(2024, 1, 2), datetime.timedelta(3)],
    "omegaconf": lambda: Config(lr=0.1, betas=Values([0, 0.99])),
    "RandomState": lambda: np.random.RandomState(0),
    "get_state": np.random.get_state,
    "Generator of NumPy": lambda: np.random.default_rng(0),
    "random.getstate": random.getstate,
    "Random": lambda: random.Random(1),
    "Path": lambda: pathlib.Path("a") / "b",
    "Namespace": lambda: argparse.Namespace(lr=0.1),
    "deque": lambda: collections.deque([1, 2]),
    "defaultdict": lambda: collections.defaultdict(list, {1: [2]}),
    "Counter": lambda: collections.Counter("abc"),
    "enum": lambda: Color.RED,
    "keys of all kinds": lambda: {(1, 2): 3, 1.5: 2, Color.RED: 1, b"b": 0},
    "set of others": lambda: {1.5, Color.RED},
    "frozenset": lambda: frozenset([1]),
    "numbers": lambda: [1 + 2j, decimal.Decimal("1.5"), fractions.Fraction(1, 2), 1 << 500],
    "slices": lambda: [slice(1, 2), range(3)],
    "uuid": lambda: uuid.UUID(int=3),
    "SimpleNamespace": lambda: types.SimpleNamespace(a=1),
    "slots": slots,
    "logger": lambda: logging.getLogger("a"),
    "function": lambda: torch.nn.functional.relu,
    "class": lambda: torch.optim.Adam,
    "Adam": lambda: torch.optim.Adam([torch.nn.Parameter(torch.ones(2))]),
    "state of Adam": lambda: torch.optim.Adam([torch.nn.Parameter(torch.ones(2))]).state_dict(),
    "schedule": lambda: torch.optim.lr_scheduler.StepLR(
        torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], 0.1), 3
    ),
    "texts of NumPy": lambda: [np.array(["cat", "dog"]), np.str_("a"), np.array([None, "b"])],
    "numbers of NumPy": lambda: [np.zeros(2, "c8"), np.zeros(2, ">f4"), np.uint64(3)],
    "dates of NumPy": lambda: np.array(["2024-01-02"], dtype="M8[D]"),
    "records of NumPy": lambda: np.zeros(2, dtype="f4,i4"),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "size and device": lambda: [torch.Size([1]), torch.device("cpu"), torch.float8_e4m3fn],
}


@pytest.mark.parametrize("name", OTHERS)
def test_things_that_nobody_needs(tmp_path, name, G, modules):
    """In a pickle of every protocol, and in both files of torch.save."""
    value = OTHERS[name]()
    for protocol in PROTOCOLS:
        if name == "slots" and protocol < 2:
            continue  # Python cannot write it
        root = {"G_ema": published(G, STYLEGAN3), "x": value, "augment_pipe": value}
        path = dump(tmp_path / "a.pkl", root, protocol)
        checkpoint = open_checkpoint(path)
        assert list(checkpoint.tensors) == ["G_ema"], protocol
    check(load_networks(path, "cpu").G_ema, G)
    for new in (True, False):
        torch.save({"g_ema": {"input.input": torch.ones(1)}, "x": value}, tmp_path / "a.pt",
                   _use_new_zipfile_serialization=new)  # fmt: skip
        assert open_checkpoint(tmp_path / "a.pt").format == "rosinality .pt"


Projected = of_class("pg_modules.discriminator.ProjectedDiscriminator")
ViT = of_class("timm.models.vit.VisionTransformer")
Aided = of_class("vision_aided_loss.cv_discriminator.Discriminator")


def projected():
    D = Projected()
    D.feature_network, D.head = ViT(), torch.nn.Linear(4, 2)
    D.activation = torch.nn.functional.leaky_relu
    return D


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("make", [projected, ViT, Aided])
def test_discriminators_of_other_packages(tmp_path, protocol, make, G):
    D = make()
    root = {"G": published(G), "D": D, "G_ema": published(G)}
    path = dump(tmp_path / "a.pkl", root, protocol, classes=(Projected, ViT, Aided))
    kind = f"{type(D).__module__}.{type(D).__name__}"
    assert open_checkpoint(path).unbuilt == {"D": f"the class {kind} is not known here"}
    with pytest.warns(UserWarning, match=f"D cannot be built: the class {kind}"):
        nets = load_networks(path, "cpu")
    check(nets.G_ema, G)
    check(nets.G, G)
    assert nets.D is None


def without_blocks(D):
    modules = D.state["_modules"]
    for name in [name for name in modules if name.startswith("b")]:
        modules["x" + name] = modules.pop(name)


def with_heads(D):
    D.state["_modules"]["head"] = D.child("b4.fc")


def of_relu(D):
    D.state["_init_kwargs"]["block_kwargs"] = {"activation": "relu"}
    for name in ("conv0", "conv1"):
        D.child(f"b16.{name}").state["activation"] = "relu"


CHANGES = {
    without_blocks: "neither blocks of StyleGAN2",
    with_heads: "unexpected tensor head.",
    of_relu: "activation is 'relu', expected lrelu",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("line", [ADA, STYLEGAN3])
def test_discriminators_of_another_architecture(tmp_path, change, line, G):
    D = published(discriminator(), line)
    change(D)
    path = dump(tmp_path / "a.pkl", {"G_ema": published(G, line), "D": D})
    assert CHANGES[change] in open_checkpoint(path).unbuilt["D"]
    info = CliRunner().invoke(program, ["info", "--json", str(path)])
    rows = json.loads(info.stdout)
    assert rows["D"].startswith("cannot be built: ") and CHANGES[change] in rows["D"]
    assert rows["G_ema"].endswith("parameters") and "networks" not in rows
    out = tmp_path / "out"
    converted = CliRunner().invoke(program, ["convert", str(path), str(out)])
    assert converted.exit_code == 0 and "left out: D" in converted.stdout
    check(load_networks(out, "cpu").G_ema, G)


def test_a_broken_G_leaves_G_ema(tmp_path, G):
    """And the reverse: G draws if G_ema is no generator of ours."""
    broken = published(G)
    broken.child("synthesis.b16").state["_parameters"]["extra"] = torch.ones(2)
    path = dump(tmp_path / "a.pkl", {"G": broken, "G_ema": published(G)})
    assert list(open_checkpoint(path).tensors) == ["G_ema"]
    path = dump(tmp_path / "b.pkl", {"G": published(G), "G_ema": broken})
    checkpoint = open_checkpoint(path)
    assert list(checkpoint.tensors) == ["G"] and "b16.extra" in checkpoint.unbuilt["G_ema"]
    with pytest.warns(UserWarning) as notes:
        check(load_networks(path, "cpu").best_G, G)
    assert [str(n.message).partition(": ")[2][:25] for n in notes] == [
        "G_ema cannot be built: G_", "there is no averaged gene"
    ]  # fmt: skip


def test_an_unknown_G_ema_leaves_G(tmp_path, G):
    Projected = of_class("pg_modules.generator.ProjectedGenerator")
    D = discriminator()
    root = {"G_ema": Projected(), "G": published(G, ADA), "D": published(D, ADA)}
    checkpoint = open_checkpoint(dump(tmp_path / "a.pkl", root, classes=(Projected,)))
    assert list(checkpoint.tensors) == ["G", "D"] and list(checkpoint.unbuilt) == ["G_ema"]
    assert "pg_modules.generator.ProjectedGenerator is not known" in checkpoint.unbuilt["G_ema"]
    with pytest.warns(UserWarning, match="G_ema cannot be built"):
        nets = load_networks(tmp_path / "a.pkl", "cpu")
    check(nets.best_G, G)
    check(nets.D, D)


def test_tensorflow(tmp_path):
    G, D = small_G(), tensorflow_pickles.published(small_D())
    D.static_kwargs["nonlinearity"] = "relu"
    path = tensorflow_pickles.write_root(
        tmp_path / "a.pkl", (None, D, tensorflow_pickles.published(G))
    )
    checkpoint = open_checkpoint(path)
    assert list(checkpoint.tensors) == ["G_ema"] and "'relu'" in checkpoint.unbuilt["D"]


def test_augmentations_of_other_programs(tmp_path, G):
    for pipe in (Persistent("Pipe", {"_modules": 3}), ViT(), Values([1])):
        if isinstance(pipe, Values):
            continue
        path = dump(tmp_path / "a.pkl", {"G_ema": published(G), "augment_pipe": pipe},
                    classes=(ViT,))  # fmt: skip
        assert list(open_checkpoint(path).tensors) == ["G_ema"]


def test_copied_programs(tmp_path, G, monkeypatch):
    """Packages that contain a copy of NVIDIA's modules name them by another path."""
    path = write(tmp_path / "a.pkl", {"G_ema": G}, protocol=2)
    data = path.read_bytes()
    old = b"ctorch_utils.persistence\n"
    path.write_bytes(data.replace(old, b"cstylegan2_ada.torch_utils.persistence\n"))
    assert data.count(old)
    check(load_networks(path, "cpu").G_ema, G)


def test_placeholders_keep_their_name_alone(tmp_path, modules):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps([Color.RED, Config(a=1), Values([1, 2]), slots()], 4))
    color, config, values, made = read_root(path)
    assert all(type(node) is Node and node.unknown for node in (color, config, values, made))
    assert color.kind == "fork.config.Color" and config.items == {"a": 1}
    assert values.items == [1, 2] and made.state == {"a": 1, "b": 1}


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("value", [
    torch.zeros(2, dtype=torch.complex64), torch.zeros(2, dtype=torch.complex128),
    torch.zeros(2).to(torch.float8_e4m3fn), torch.zeros(2, dtype=torch.uint16),
    torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8), torch.eye(3).to_sparse(),
    torch.zeros(2).untyped_storage(),
])  # fmt: skip
def test_values_beside_networks(tmp_path, value, new, G):
    """They lose no network before or after them, in both formats and in a pickle."""
    state = {"synthesis.b4.const": torch.ones(3), "mapping.w_avg": torch.arange(2.0)}
    content = {"a": value, "g_ema": state, "x": [value, value]}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
    stored = open_checkpoint(tmp_path / "a.pt").stored["G_ema"]
    assert torch.equal(stored["mapping.w_avg"].read(), torch.arange(2.0))
    path = dump(tmp_path / "a.pkl", {"x": value, "G_ema": published(G)})
    assert list(open_checkpoint(path).tensors) == ["G_ema"]


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float8_e4m3fn, torch.uint16])
def test_tensors_that_no_network_has(tmp_path, dtype):
    content = {"g_ema": {"input.input": torch.ones(1)}, "x": torch.zeros(2, dtype=dtype)}
    torch.save(content, tmp_path / "a.pt")
    assert open_checkpoint(tmp_path / "a.pt").format == "rosinality .pt"
    content = {"g_ema": {"input.input": torch.zeros(2, dtype=dtype)}}
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="input.input is not a tensor"):
        open_checkpoint(tmp_path / "a.pt")
