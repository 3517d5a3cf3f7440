# SPDX-License-Identifier: Apache-2.0
"""Networks are found wherever a program keeps them in its file."""

import pickle
from collections import OrderedDict

import pytest
import torch

from checkpoints import nvidia_pickles, tensorflow_pickles
from checkpoints.nvidia_pickles import STYLEGAN3, EasyDict, dump, importable, of_class, published
from checkpoints.small_networks import check, discriminator, generator, small_D, small_G
from stylegan import CheckpointError, load_networks
from stylegan.checkpoints.find import find_networks, without_wrappers
from stylegan.checkpoints.open import open_checkpoint
from stylegan.checkpoints.pickle.container import read_root
from stylegan.checkpoints.roles import rank_of, role_of
from stylegan.checkpoints.rosinality.writer import write as write_rosinality
from stylegan.config import Config
from stylegan.networks import Networks


@pytest.fixture(scope="module")
def G():
    return generator()


@pytest.fixture(scope="module")
def D():
    return discriminator()


def saved(path, value, **how):
    """torch.save of a value that holds NVIDIA's modules. Returns: path."""
    with importable(nvidia_pickles._reconstruct_persistent_obj, EasyDict):
        torch.save(value, path, **how)
    return path


Wrapped = of_class("torch.nn.parallel.data_parallel.DataParallel")
Compiled = of_class("torch._dynamo.eval_frame.OptimizedModule")
Trainer = of_class("fork.trainer.Trainer")


def inside(kind, name, module):
    """An object of `kind` whose only module is this one."""
    result = kind()
    result._modules[name] = module
    return result


def twin(module):
    """Another object with the same contents."""
    if isinstance(module, nvidia_pickles.Persistent):
        return nvidia_pickles.Persistent(module.class_name, module.state)
    return tensorflow_pickles.Network(**vars(module))


LAYOUTS = {  # {name: (function of G and D, the networks that are found)}
    "module": (lambda G, D: G, "G_ema"),
    "list": (lambda G, D: [G], "G_ema"),
    "list of two": (lambda G, D: [G, D], "G_ema D"),
    "tuple of five": (lambda G, D: (G, D, twin(G), 7, None), "G_ema G D"),
    "the same twice": (lambda G, D: (G, D, G), "G_ema D"),
    "model": (lambda G, D: {"model": G}, "G_ema"),
    "one down": (lambda G, D: {"model": {"generator": G, "discriminator": D}}, "G D"),
    "two down": (lambda G, D: {"a": {"nets": [{"netG": G, "netD": D}]}}, "G D"),
    "generator, ema": (lambda G, D: {"generator": G, "ema": G}, "G_ema G"),
    "small letters": (lambda G, D: {"g": G, "d": D, "g_ema": G}, "G_ema G D"),
    "ordered": (lambda G, D: OrderedDict(netG=G), "G"),
    "easy": (lambda G, D: EasyDict(G_ema=EasyDict(model=G)), "G_ema"),
    "with other things": (lambda G, D: {"x": [1] * 50, "args": {"lr": 1}, "G": G}, "G"),
    "attribute": (lambda G, D: inside(Trainer, "G_ema", G), "G_ema"),
    "DataParallel": (lambda G, D: {"G": inside(Wrapped, "module", G)}, "G"),
    "compiled": (lambda G, D: inside(Compiled, "_orig_mod", G), "G_ema"),
    "both": (
        lambda G, D: {"G": inside(Wrapped, "module", inside(Compiled, "_orig_mod", G))},
        "G",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("how", ["pickle", "zip", "legacy"])
def test_modules(tmp_path, layout, how, G, D):
    make, expected = LAYOUTS[layout]
    root = make(published(G, STYLEGAN3), published(D, STYLEGAN3))
    path, classes = tmp_path / "a.pkl", (Wrapped, Compiled, Trainer)
    with importable(*classes):
        if how == "pickle":
            dump(path, root)
        else:
            saved(path, root, _use_new_zipfile_serialization=how == "zip")
    checkpoint = open_checkpoint(path)
    assert list(checkpoint.tensors) == expected.split() and not checkpoint.unbuilt
    with pytest.warns(UserWarning) if "G_ema" not in expected else ignore():
        nets = load_networks(path, "cpu")
    check(nets.best_G, G)
    if "D" in expected:
        check(nets.D, D)


class ignore:
    """Instead of a context that expects a warning."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


@pytest.fixture(scope="module")
def rosinality(tmp_path_factory):
    """A file of rosinality's program as a dictionary, and its generator and discriminator."""
    G, D = small_G(conv_clamp=None), small_D()
    path = tmp_path_factory.mktemp("rosinality") / "a.pt"
    nets = Networks(Config(G=G.config, D=D.config), {}, G_ema=G, G=G, D=D)
    write_rosinality(nets, path)
    content = torch.load(path)
    content.pop("stylegan")
    return content, G, D


def prefixed(state, prefix):
    return {prefix + key: value for key, value in state.items()}


STATES = {
    "g": (lambda c: {"g": c["g"]}, "G"),
    "G": (lambda c: {"G": c["g"], "latent_avg": c["latent_avg"]}, "G"),
    "root": (lambda c: c["g_ema"], "G_ema"),
    "root, module.": (lambda c: prefixed(c["g_ema"], "module."), "G_ema"),
    "root, with the average": (lambda c: {**c["g_ema"], "latent_avg": c["latent_avg"]}, "G_ema"),
    "_orig_mod.": (lambda c: {"g_ema": prefixed(c["g_ema"], "_orig_mod.")}, "G_ema"),
    "module._orig_mod.": (lambda c: {"g": prefixed(c["g"], "module._orig_mod.")}, "G"),
    "_orig_mod.module.": (
        lambda c: {"g_ema": prefixed(c["g_ema"], "_orig_mod.module."), "d": c["d"]},
        "G_ema D",
    ),
    "three": (lambda c: {"g": prefixed(c["g"], "module." * 3)}, "G"),
    "state_dict": (lambda c: {"epoch": 3, "state_dict": c["g"]}, "G_ema"),
    "one down": (lambda c: {"model": {"generator": c["g"], "ema": c["g_ema"]}}, "G_ema G"),
    "two down": (lambda c: {"generator": {"state_dict": c["g"]}}, "G"),
    "one dictionary": (
        lambda c: {"state_dict": prefixed(c["g_ema"], "generator_ema.")
                   | prefixed(c["d"], "discriminator.") | {"step": torch.ones(())}},
        "G_ema D",
    ),
    "encoder and decoder": (
        lambda c: {"state_dict": prefixed(c["g_ema"], "decoder.") | {"encoder.a.b": torch.ones(1)},
                   "latent_avg": c["latent_avg"].repeat(6, 1)},
        "G_ema",
    ),
    "list": (lambda c: [c["g_ema"]], "G_ema"),
    "model.": (lambda c: {"state_dict": prefixed(c["g_ema"], "model.module.")}, "G_ema"),
    "G_net": (
        lambda c: {"state_dict": prefixed(c["g"], "G_net.") | prefixed(c["d"], "D_net.")},
        "G D",
    ),
    "generator_state_dict": (
        lambda c: {"generator_state_dict": c["g"], "discriminator_state_dict": c["d"]},
        "G D",
    ),
    "model_G": (
        lambda c: {"model_G": c["g"], "model_D": c["d"], "modelGs": c["g_ema"]},
        "G_ema G D",
    ),
    "Gema_state_dict": (lambda c: {"G_state": c["g"], "Gema_state_dict": c["g_ema"]}, "G_ema G"),
    "ema_model": (lambda c: prefixed(c["g_ema"], "ema_model.") | {"step": torch.ones(1)}, "G_ema"),
    "AveragedModel": (
        lambda c: {"n_averaged": torch.tensor(3)} | prefixed(c["g_ema"], "module."),
        "G_ema",
    ),
    "Fabric": (lambda c: {"state_dict": prefixed(c["g"], "_forward_module.")}, "G_ema"),
    "FSDP": (lambda c: prefixed(c["g"], "module._fsdp_wrapped_module."), "G_ema"),
    "params_ema": (lambda c: {"params": c["g"], "params_ema": c["g_ema"]}, "G_ema G"),
}  # fmt: skip


@pytest.mark.parametrize("layout", STATES)
@pytest.mark.parametrize("new", [True, False])
def test_state_dicts(tmp_path, layout, new, rosinality):
    content, G, D = rosinality
    make, expected = STATES[layout]
    path = tmp_path / "a.pt"
    torch.save(make(content), path, _use_new_zipfile_serialization=new)
    checkpoint = open_checkpoint(path)
    assert list(checkpoint.tensors) == expected.split() and not checkpoint.unbuilt
    read = checkpoint.read(expected.split()[0])
    for key, value in G.state_dict().items():
        if key != "mapping.w_avg" or "latent_avg" in make(content):
            assert torch.equal(read.state_dict()[key].reshape(value.shape), value), key


@pytest.mark.parametrize(
    "layout, expected",
    [
        (lambda G, D: G, "G_ema"),
        (lambda G, D: (G,), "G_ema"),
        (lambda G, D: [G], "G_ema"),
        (lambda G, D: {"Gs": G}, "G_ema"),
        (lambda G, D: {"nets": (G, D, G)}, "G_ema G D"),
        (lambda G, D: (G, D), "G_ema D"),
        (lambda G, D: (None, None, G), "G_ema"),
        (lambda G, D: (G, D, None), "G D"),
        (lambda G, D: (G, D, twin(G), {"kimg": 3}), "G_ema G D"),
    ],
)
def test_tensorflow(tmp_path, layout, expected):
    G, D = small_G(conv_clamp=256), small_D(conv_clamp=256)
    root = layout(tensorflow_pickles.published(G), tensorflow_pickles.published(D))
    path = tensorflow_pickles.write_root(tmp_path / "a.pkl", root)
    checkpoint = open_checkpoint(path)
    assert checkpoint.format == "NVIDIA TensorFlow .pkl"
    assert list(checkpoint.tensors) == expected.split()
    read = checkpoint.read(expected.split()[0])
    for key, value in read.state_dict().items():
        assert torch.allclose(value, G.state_dict()[key].reshape(value.shape), atol=1e-6), key


def test_a_network_in_the_wrong_place_is_not_taken(tmp_path, G):
    """An augmentation is no generator, and numbers are no networks."""
    pipe = of_class("fork.Pipe")()
    pipe.register_buffer("p", torch.ones(()))
    root = {"augment_pipe": pipe, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}}
    path = dump(tmp_path / "a.pkl", root, classes=(type(pipe),))
    with pytest.raises(CheckpointError, match="no known networks"):
        open_checkpoint(path)


def test_the_search_is_bounded():
    wide = {"a": [{"b": [1] * 100} for _ in range(10_000)]}
    deep = {}
    for _ in range(10_000):
        deep = {"model": deep}
    endless = {}
    endless["model"] = endless
    for root in (wide, deep, endless, [[]] * 10_000, None, 3, "G", ((),)):
        assert not find_networks(root).roles


def test_parts_among_other_names(tmp_path):
    """They are no state dict of one network, and nothing of them is lost."""
    names = ("generator.synthesis.a", "generator.mapping.b", "style.1.weight")
    torch.save({"generator": dict.fromkeys(names, torch.ones(1))}, tmp_path / "a.pt")
    found = find_networks(read_root(tmp_path / "a.pt"))
    assert list(found.states["G"]) == ["synthesis.a", "mapping.b"]
    assert list(found.others) == ["style.1.weight"]
    others = {"model.diffusion_model.a": 1, "model.diffusion_model.b": 2}
    assert without_wrappers(others) == others


def test_names_without_a_role():
    """Of losses, optimizers, parts, and averages of other things."""
    for key in ("d_loss", "g_optim", "G_mapping", "g_synthesis", "average", "d_ema", "G_D", "", 3,
                "model", "state_dict", "net", "b4", "style", "latent_avg", "g" * 50):  # fmt: skip
        assert role_of(key) is None, key
    assert rank_of("g_ema") < rank_of("ema") < rank_of("decoder") < rank_of("x")


def test_prefixes_of_some_names_stay():
    state = {"module.a": 1, "b": 2}
    assert without_wrappers(state) == state and without_wrappers({}) == {}
    many = {"module." * 30 + "a": 1}
    assert without_wrappers(many) == {"module." * 22 + "a": 1}


def test_pickled_modules_keep_their_place(tmp_path, G):
    """A module alone in a file is G_ema, and the file says that it has no other."""
    path = dump(tmp_path / "tuned.pt", published(G, STYLEGAN3))
    assert pickle.PROTO == path.read_bytes()[:1]
    nets = load_networks(path, "cpu")
    assert nets.D is None and nets.G is None and nets.G_ema is not None


def test_a_discriminator_of_another_program(tmp_path, rosinality):
    """In rosinality's file: of other names, no tensors at all, or tensors that overlap."""
    content, G, _ = rosinality
    shared = torch.zeros(1_000_000)
    for D in (
        {"blocks.0.weight": torch.ones(3)},
        {**content["d"], "head.weight": torch.ones(2)},
        {"a.b": 1},
        {f"layer.{i}": shared for i in range(60)},
    ):
        torch.save({"g_ema": content["g_ema"], "d": D}, tmp_path / "a.pt")
        checkpoint = open_checkpoint(tmp_path / "a.pt")
        assert list(checkpoint.tensors) == ["G_ema"] and list(checkpoint.unbuilt) == ["D"]
        with pytest.warns(UserWarning, match="D cannot be built"):
            assert load_networks(tmp_path / "a.pt", "cpu").D is None
