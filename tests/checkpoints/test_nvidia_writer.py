# SPDX-License-Identifier: Apache-2.0
import copy
import io
import pickle
import pickletools
from pathlib import Path

import pytest
import torch
from support.tiny import tiny

from checkpoints.nvidia_networks import (
    CLASSES,
    assert_same_state,
    images,
    modules,
    networks_of,
    stand_ins,
)
from stylegan.checkpoints.nvidia.writer import write
from stylegan.checkpoints.pickle.arrays import Array
from stylegan.checkpoints.pickle.container import read_root
from stylegan.networks import load_networks

FIXTURES = Path(__file__).parents[1] / "fixtures"
STYLEGAN3 = ("sg2-32", "sg3t-64", "sg3r-32")  # files of its repository,
ADA = ("sg2ada-64", "sg2ada-cond-32")  # and of the one before
NAMES = ("G_ema", "G", "D")
FUNCTIONS = {
    "collections OrderedDict",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor_v2",
    "torch.storage _load_from_bytes",
    "numpy.core.multiarray _reconstruct",
    "numpy ndarray",
    "numpy dtype",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Function of a name: (networks of the fixture, the file that they were written to)."""
    cache, folder = {}, tmp_path_factory.mktemp("written")

    def get(name):
        if name not in cache:
            nets = load_networks(FIXTURES / f"{name}.pkl", "cpu")
            write(nets, folder / f"{name}.pkl")
            cache[name] = nets, folder / f"{name}.pkl"
        return cache[name]

    return get


@pytest.mark.parametrize("name", STYLEGAN3 + ADA)
def test_networks_come_back_bit_for_bit(name, written):
    before, path = written(name)
    after = load_networks(path, "cpu")
    assert after.config == before.config
    assert after.meta["dataset"] == before.meta["dataset"]
    for network in NAMES:
        a, b = getattr(before, network), getattr(after, network)
        assert (a is None) == (b is None)
        if a is not None:
            assert a.config == b.config
            assert_same_state(a, b)
    assert torch.equal(images(before.G_ema), images(after.G_ema))
    if before.D is not None:
        img = images(before.G_ema)
        c = torch.eye(before.D.c_dim)[[0, 1]] if before.D.c_dim else None
        assert torch.equal(before.D(img, c), after.D(img, c))


def plain(value):
    """A value to compare, without the number that depends on the batch size."""
    if isinstance(value, Array):
        return value.shape, value.dtype, value.read().contiguous().numpy().tobytes()
    if type(value) is dict:
        return {k: plain(v) for k, v in value.items() if k != "magnitude_ema_beta"}
    return value


def trees(name, path):
    """(path, their module, ours) of all modules, which have the same names and order."""
    theirs, ours = (read_root(p) for p in (FIXTURES / f"{name}.pkl", path))
    assert theirs.keys() == ours.keys()
    for network in NAMES:
        if theirs[network] is None:
            assert ours[network] is None
            continue
        a, b = (list(modules(root[network], network)) for root in (theirs, ours))
        assert [p for p, _ in a] == [p for p, _ in b]
        yield from ((p, x, y) for (p, x), (_, y) in zip(a, b))


@pytest.mark.parametrize("name", STYLEGAN3)
def test_every_attribute_equals_that_of_their_file(name, written):
    count = 0
    for path, theirs, ours in trees(name, written(name)[1]):
        line = "stylegan3" if name.startswith("sg3") and path[0] == "G" else "stylegan2"
        assert ours.kind == f"training.networks_{line}.{theirs.kind}"
        a, b = plain(theirs.state), plain(ours.state)
        del a["_modules"], b["_modules"]
        assert a == b, path
        count += len(a)
    assert count > 2000


@pytest.mark.parametrize("name", ADA)
def test_attributes_shared_with_the_older_line(name, written):
    count = 0
    for path, theirs, ours in trees(name, written(name)[1]):
        assert ours.kind == f"training.networks_stylegan2.{theirs.kind}"
        for key in theirs.state.keys() - {"_modules", "_init_kwargs"}:
            assert plain(theirs.state[key]) == plain(ours.state[key]), f"{path}.{key}"
            count += 1
    assert count > 1500


def test_arguments_that_differ_from_the_newer_defaults_are_recorded(written):
    kwargs = read_root(written("sg2ada-cond-32")[1])["G"].state["_init_kwargs"]
    assert "synthesis_kwargs" not in kwargs
    assert kwargs["num_fp16_res"] == 0 and kwargs["conv_clamp"] is None
    assert kwargs["mapping_kwargs"] == {"num_layers": 2, "w_avg_beta": 0.995}
    assert kwargs["architecture"] == "resnet"


def test_decay_of_magnitudes_is_that_of_the_batch():
    config = tiny("stylegan3-t", batch=8)
    file = io.BytesIO()
    write(networks_of(config, D=False), file)
    beta = 0.5 ** (8 / 20000)
    with stand_ins():
        G = pickle.loads(file.getvalue())["G_ema"]
    assert G._init_kwargs["magnitude_ema_beta"] == beta
    layers = [m for m in G.modules() if hasattr(m, "magnitude_ema_beta")]
    assert len(layers) == 15 and {m.magnitude_ema_beta for m in layers} == {beta}


@pytest.mark.parametrize("name", STYLEGAN3 + ADA)
@pytest.mark.filterwarnings("error")
def test_pickle_and_torch_load_it_by_class_path(name, written):
    nets, path = written(name)
    with stand_ins(), open(path, "rb") as f:
        root = pickle.load(f)
    assert list(root) == ["training_set_kwargs", "G", "D", "G_ema", "augment_pipe"]
    assert root["training_set_kwargs"]["class_name"] == "training.dataset.ImageFolderDataset"
    assert root["augment_pipe"] is None
    for network in NAMES:
        ours, loaded = getattr(nets, network), root[network]
        if ours is None:
            assert loaded is None
            continue
        assert all(type(m).__module__ in CLASSES for m in loaded.modules())
        state = {k: v for k, v in loaded.state_dict().items() if "resample_filter" not in k}
        assert state.keys() == ours.state_dict().keys()
        for key, value in ours.state_dict().items():
            shape = () if key.endswith(("noise_strength", "magnitude_ema")) else value.shape
            assert state[key].shape == shape and torch.equal(state[key].reshape(value.shape), value)
        names = {k for k, _ in ours.named_parameters()}
        assert names == {k for k, _ in loaded.named_parameters()}
        assert not any(p.requires_grad for p in loaded.parameters())
        again = copy.deepcopy(loaded).double().train()  # which work on all that a module is
        assert all(m.training for m in again.modules())


@pytest.mark.parametrize("name", STYLEGAN3 + ADA)
def test_no_code_and_few_names(name, written):
    data = written(name)[1].read_bytes()
    assert not any(word in data for word in (b"module_src", b"import", b"persistence", b"dnnlib"))
    allowed = FUNCTIONS | {f"{m} {c}" for m, names in CLASSES.items() for c in names}
    found, nested = opcodes(data)
    assert found <= allowed and found & FUNCTIONS >= {"torch._utils _rebuild_tensor_v2"}
    assert len(nested) > 50
    for blob in nested:
        assert opcodes_of_torch_save(blob) == {"torch FloatStorage"}


def opcodes(data):
    """(names of globals, byte strings) in a pickle, which may name globals by GLOBAL alone."""
    names, strings = set(), []
    for opcode, argument, _ in pickletools.genops(data):
        assert opcode.name not in ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4")
        assert opcode.proto <= 4
        if opcode.name == "GLOBAL":
            names.add(argument)
        elif "BINBYTES" in opcode.name and len(argument) > 100:
            strings.append(argument)
    return names, strings


def opcodes_of_torch_save(data):
    file, names = io.BytesIO(data), set()
    for _ in range(5):
        part = list(pickletools.genops(file))
        assert all(opcode.proto <= 2 for opcode, _, _ in part)
        names |= {argument for opcode, argument, _ in part if opcode.name == "GLOBAL"}
    return names
