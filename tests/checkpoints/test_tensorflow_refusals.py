# SPDX-License-Identifier: Apache-2.0
"""TensorFlow pickles that do not fit our networks, or are invalid."""

import random
import time

import numpy as np
import pytest
import torch

from checkpoints import tensorflow_pickles as tf
from checkpoints.small_networks import small_D, small_G
from stylegan import build_discriminator, build_generator
from stylegan.checkpoints.open import open_checkpoint
from stylegan.config import Config
from stylegan.errors import CheckpointError
from stylegan.networks import load_networks


@pytest.fixture(scope="module")
def G():
    torch.manual_seed(0)
    return small_G()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("tensorflow") / "network.pkl"


def _changed(change):
    """A function that writes a file with a changed averaged generator."""

    def write(G, path):
        network = tf.published(G)
        change(network)
        return tf.write_root(path, (None, None, network))

    return write


def _set(name, value, scope="synthesis"):
    def change(network):
        part = network.components[scope]
        part.variables = [(k, value if k == name else v) for k, v in part.variables]

    return _changed(change)


def _without(name):
    def change(network):
        part = network.components["synthesis"]
        part.variables = [(k, v) for k, v in part.variables if k != name]

    return _changed(change)


def _also(name, shape=(3,), scope="synthesis"):
    value = np.zeros(shape, dtype=np.float32)
    return _changed(lambda n: n.components[scope].variables.append((name, value)))


def _given(**settings):
    def change(network):
        for part in (network, *network.components.values()):
            part.static_kwargs.update(settings)

    return _changed(change)


@pytest.mark.parametrize(
    "write, reason",
    [
        (
            _set("4x4/Conv/weight", np.ones((3, 3, 8, 7), np.float32)),
            r"b4.const is \[8, 4, 4\], expected \[7, 4, 4\]",
        ),
        (_set("8x8/Conv1/weight", np.ones((3, 3, 7, 8), np.float32)), "b8.conv1.weight is"),
        (
            _set("8x8/Conv0_up/weight", np.ones((3, 3, 8), np.float32)),
            r"conv0.weight is \[3, 3, 8\]",
        ),
        (
            _set("8x8/Conv1/weight", np.float32(1)),
            "synthesis.b8.conv1.weight is missing or has an invalid shape",
        ),
        (_set("4x4/Const/const", np.ones((2, 8, 4, 4), np.float32)), "b4.const is"),
        (_set("noise3", np.ones((1, 1, 8, 8), np.float32)), r"b16.conv0.noise_const is \[8, 8\]"),
        (_set("Dense0/weight", np.ones((0, 5), np.float32), "mapping"), "mapping.fc0.weight"),
        (_without("8x8/Conv1/bias"), "lacks synthesis.b8.conv1.bias"),
        (_without("16x16/ToRGB/weight"), "synthesis.b16.torgb.weight is missing"),
        (_without("noise2"), "lacks synthesis.b8.conv1.noise_const"),
        (_also("noise5"), "unexpected tensor synthesis.b32.conv0.noise_const"),
        (_also("8x8/Conv1/other"), "unexpected tensor synthesis/8x8/Conv1/other"),
        (_also("8x8/Conv2/weight"), "unexpected tensor synthesis/8x8/Conv2/weight"),
        (_also("LabelEmbed/weight", (2, 6), "mapping"), "6 inputs from the label and 0 from z"),
        (_also("4x4/Conv1/weight"), "b4.conv1.weight twice, the second time as"),
        (_given(architecture="resnet"), "architecture is 'resnet', but the tensors are for skip"),
        (_given(architecture="other"), "architecture is 'other', but the tensors are for skip"),
        (_given(resolution=32), "resolution is 32, but the tensors are for 16"),
        (_given(num_channels=1), "num_channels is 1, but the tensors are for 3"),
        (_given(latent_size=7), "latent_size is 7, but the tensors are for 6"),
        (_given(dlatent_size=6), "dlatent_size is 6, but the tensors are for 5"),
        (_given(mapping_layers=8), "mapping_layers is 8, but the tensors are for 2"),
        (_given(label_size=2), "label_size is 2, but the tensors are for 0"),
        (_given(fmap_base="many"), "fmap_base is 'many'"),
        (_given(nonlinearity="relu"), "nonlinearity is 'relu'"),
        (_given(normalize_latents=False), "does not normalize z"),
    ],
)
def test_a_mismatch_is_named(write, reason, G, path):
    found = open_checkpoint(write(G, path))
    assert found.config is found.tensors is None and found.family.startswith("StyleGAN2")
    assert found.stored["G_ema"].keys() >= {"dlatent_avg", "synthesis/8x8/ToRGB/bias"}
    with pytest.raises(CheckpointError, match=reason):
        load_networks(path, "cpu")


def _itself(network):
    network.components["synthesis"].components["more"] = network


def _folded(levels):
    """Every component twice, 2^levels of the innermost."""

    def change(network):
        inner = tf.Network(components={}, static_kwargs={}, variables=[])
        for _ in range(levels):
            parts = {"a": inner, "b": inner}
            inner = tf.Network(components=parts, static_kwargs={}, variables=[])
        network.components["x"] = inner

    return change


def _wide(network):
    """Three levels of 3,000 components each."""
    inner = tf.Network(components={}, static_kwargs={}, variables=[])
    for _ in range(3):
        parts = {str(i): inner for i in range(3000)}
        inner = tf.Network(components=parts, static_kwargs={}, variables=[])
    network.components["x"] = inner


def _variables(value):
    return lambda n: n.components["mapping"].__dict__.update(variables=value)


def _state(**state):
    return lambda n: n.__dict__.update(state)


@pytest.mark.parametrize(
    "change, reason",
    [
        (_itself, "an invalid variable name"),
        (_folded(40), "more than 20,000"),
        (_wide, "more than 20,000"),
        (_state(components={"x": "text"}), "x is not a network"),
        (_state(components={"x": None}), "x is not a network"),
        (_state(components=[1]), "the network lacks variables or components"),
        (_state(components={3: None}), "an invalid variable name"),
        (_state(static_kwargs=[]), "the network lacks variables or components"),
        (_state(variables=None), "the network lacks variables or components"),
        (_state(version="5"), "version is '5'"),
        (_variables({}), "mapping lacks variables"),
        (_variables(["Dense0/weight"]), "not a pair of name and array"),
        (_variables([("Dense0/weight", 1, 2)]), "not a pair of name and array"),
        (_variables([(None, np.ones(3))]), "an invalid variable name"),
        (_variables([("a" * 200, np.ones(3))]), "an invalid variable name"),
        (_variables([("a\x1b[31m", np.ones(3))]), "an invalid variable name"),
        (_variables([("Dense0/weight", "text")]), "mapping/Dense0/weight: expected an array"),
        (_variables([("Dense0/weight", None)]), "mapping/Dense0/weight: expected an array"),
        (_variables([("Dense0/weight", True)]), "mapping/Dense0/weight: expected an array"),
        (_variables([("Dense0/weight", 1e300)]), "does not fit in float32"),
        (_variables([("Dense0/weight", [1.0])]), "expected an array, got a list"),
        (_variables([(f"Dense{i}/weight", 1.0) for i in range(30000)]), "more than 20,000"),
    ],
)
def test_invalid_contents_are_refused(change, reason, G, path):
    _changed(change)(G, path)
    start = time.process_time()
    with pytest.raises(CheckpointError, match=reason) as e:
        load_networks(path, "cpu")
    assert time.process_time() - start < 1 and "\n" not in str(e.value)
    assert str(e.value).isprintable()


@pytest.mark.parametrize(
    "root, reason",
    [
        ((1, 2, tf.Network(variables=[])), "no layer has mod_weight"),
        ((None, None, tf.Network(variables=[]), None), "no layer has mod_weight"),
        ([None, None, tf.Network(variables=1)], "the network lacks variables"),
        ((None, None, None), "contains no known networks"),
    ],
)
def test_not_a_tuple_of_networks(root, reason, path):
    with pytest.raises(CheckpointError, match=reason):
        load_networks(tf.write_root(path, root), "cpu")


def _check(path):
    """A file is refused in one line, or its networks have the shapes of their config."""
    try:
        nets = load_networks(path, "cpu")
        networks = [network for network in (nets.G_ema, nets.G, nets.D) if network]
    except CheckpointError as e:
        assert "\n" not in str(e)
        return "refused"
    assert isinstance(nets.config, Config) and networks
    for network in networks:
        build = build_discriminator if network is nets.D else build_generator
        expected = {k: v.shape for k, v in build(nets.config).state_dict().items()}
        assert {k: v.shape for k, v in network.state_dict().items()} == expected
    return "read"


@pytest.fixture(scope="module")
def tiny(path):
    """A file with more structure than numbers."""
    fields = dict(resolution=8, channel_max=2, channel_base=16)
    G = small_G(**fields, z_dim=2, w_dim=2)
    return tf.write(path, {"G": G, "D": small_D(**fields), "G_ema": G}).read_bytes()


def test_truncated(tiny, path):
    for percent in range(0, 100, 2):
        path.write_bytes(tiny[: len(tiny) * percent // 100])
        assert _check(path) == "refused", percent
    path.write_bytes(tiny)
    assert _check(path) == "read"


def test_mutated(tiny, path):
    results = []
    for seed in range(50):
        rng, content = random.Random(seed), bytearray(tiny)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(content))
            kind = rng.randrange(3)
            if kind == 0:
                content[at] = rng.randrange(256)
            elif kind == 1:
                del content[at : at + rng.randint(1, 16)]
            else:
                content[at:at] = content[rng.randrange(len(content)) :][: rng.randint(1, 16)]
        path.write_bytes(content)
        results.append(_check(path))
    assert set(results) == {"refused", "read"}


def test_a_discriminator_alone(path):
    with pytest.raises(CheckpointError, match="only a discriminator; images need G_ema or G"):
        load_networks(tf.write(path, {"D": small_D()}), "cpu")
