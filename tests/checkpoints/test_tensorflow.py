# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from checkpoints import tensorflow_pickles as tf
from checkpoints.nvidia_pickles import CORES
from checkpoints.small_networks import small_D, small_G
from stylegan import Pipeline
from stylegan.checkpoints.open import open_checkpoint
from stylegan.errors import CheckpointError
from stylegan.networks import load_networks

FIXTURES = Path(__file__).parents[1] / "fixtures"
FORMAT = "NVIDIA TensorFlow .pkl"


@pytest.fixture(scope="module")
def G():
    torch.manual_seed(0)
    return small_G()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("tensorflow") / "network.pkl"


def same(found, expected):
    """Two networks have the same numbers. In the file, 1 is subtracted from some biases."""
    found, expected = found.state_dict(), expected.state_dict()
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        tolerance = 1e-6 if key.endswith("affine.bias") else 0
        assert torch.allclose(found[key], value, rtol=0, atol=tolerance), key


def close(found, expected):
    expected = torch.as_tensor(expected)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize(
    "name, how",
    [
        ("sg2ada-64", dict(protocol=4)),
        ("sg2-32", dict(protocol=2, core=CORES[1], version=4, nested=False, first="Conv1")),
        ("sg2ada-cond-32", dict(protocol=5, core=CORES[0])),
    ],
)
@torch.no_grad()
def test_known_good(name, how, path):
    nets = load_networks(FIXTURES / f"{name}.pkl", "cpu")
    tf.write(path, {"G": nets.G_ema, "D": nets.D, "G_ema": nets.G_ema}, **how)
    found = load_networks(path, "cpu")
    values = {k: torch.tensor(v) for k, v in np.load(FIXTURES / f"{name}.npz").items()}
    z, c = values["z"], values["c"]
    close(found.G_ema(z, c), values["img"])
    cutoff = 5 if found.G_ema.num_ws >= 6 else None
    close(found.G_ema(z, c, 0.7, cutoff), values["img_psi07"])
    close(found.D(values["img"], c), values["logits"])
    same(found.G, nets.G_ema)
    assert found.config == nets.config
    assert found.checkpoint.format == FORMAT
    assert found.checkpoint.family == found.config.G.title


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("nested", [True, False])
def test_every_spelling(protocol, core, nested, G, path):
    tf.write(path, {"G_ema": G}, protocol, core, nested=nested)
    content = path.read_bytes()
    assert all((other.encode() in content) == (other == core) for other in CORES)
    same(load_networks(path, "cpu").G_ema, G)


@pytest.mark.parametrize("architecture, channels", [("skip", 1), ("resnet", 4), ("orig", 3)])
@pytest.mark.parametrize("base", [64, 128])  # configs E and F
@torch.no_grad()
def test_architectures(architecture, channels, base, path):
    of_both = dict(architecture=architecture, channels=channels, channel_base=base)
    G, D = small_G(**of_both), small_D(**of_both, mbstd_group=2, mbstd_channels=2)
    unrecorded = ("architecture", "num_channels") if base == 64 else ()  # the layers show them
    tf.write(path, {"G_ema": G, "D": D}, unrecorded=unrecorded)
    nets = load_networks(path, "cpu")
    z = torch.randn(2, 6)
    img = G(z)
    close(nets.G_ema(z), img)
    close(nets.D(img), D(img))
    assert (nets.config.G, nets.config.D) == (G.config, D.config)
    assert nets.config.G.widths is None and nets.config.G.architecture == architecture


@torch.no_grad()
def test_nothing_recorded(path):
    """Settings are the defaults of their functions, and sizes those of the tensors."""
    G, D = small_G(c_dim=3), small_D(c_dim=3, mapping_layers=1)
    networks = (tf.published(D, lr_mult=0.1), tf.published(G))
    for network in (*networks, *networks[1].components.values()):
        network.static_kwargs = {}
    tf.write_root(path, (None, *networks))
    nets = load_networks(path, "cpu")
    same(nets.G_ema, G)
    ruled = dict(channel_base=32768, channel_max=512, widths=(8, 8, 4))
    assert nets.config.G == replace(G.config, **ruled)
    assert nets.config.D == replace(D.config, **ruled)
    img = torch.randn(4, 3, 16, 16)
    c = torch.eye(3)[[0, 1, 2, 0]]
    close(nets.D(img, c), D(img, c))
    assert nets.class_names == ("0", "1", "2") and nets.G is None


def test_settings(G, path):
    settings = dict(conv_clamp=np.float32(256), num_fp16_res=2, dlatent_avg_beta=0.99)
    settings |= dict(resample_kernel=np.array([1.0, 2.0, 1.0]))
    read = _written(path, G, version=4, settings=settings).config.G
    assert read.conv_clamp == 256 and read.low_precision_blocks == 2
    assert read.w_avg_beta == 0.99 and read.resample_filter == (1, 2, 1)
    assert _written(path, G, settings=dict(w_avg_beta=0.9)).config.G.w_avg_beta == 0.9
    half = _written(path, G, settings=dict(num_fp16_res=9))  # not at 4 px
    assert half.config.G.low_precision_blocks == 2
    still = _written(path, G, settings=dict(w_avg_beta=None))  # the mean does not move
    assert still.config.G.w_avg_beta == 1


def test_settings_are_those_of_the_averaged_generator(G, path):
    root = [tf.published(G, settings=dict(conv_clamp=clamp)) for clamp in (1, 2)]
    tf.write_root(path, (root[0], None, root[1]))
    assert open_checkpoint(path).config.G.conv_clamp == 2


def _written(path, network, **how):
    tf.write(path, {"G_ema": network}, **how)
    return open_checkpoint(path)


@torch.no_grad()
def test_learning_rate_of_the_mapping_network(G, path):
    """Another factor on its parameters gives the same w."""
    tf.write(path, {"G_ema": G}, lr_mult=0.02, settings=dict(mapping_lrmul=0.02))
    found, z = load_networks(path, "cpu").G_ema, torch.randn(4, 6)
    assert torch.allclose(found.mapping.fc0.weight, G.mapping.fc0.weight)
    close(found.mapping(z), G.mapping(z))


@torch.no_grad()
def test_without_noise_and_minibatch_statistics(path):
    G, D = small_G(use_noise=False, mapping_layers=0, z_dim=5), small_D(mbstd_channels=0)
    tf.write(path, {"G_ema": G, "D": D}, settings=dict(mbstd_group_size=0))
    nets = load_networks(path, "cpu")
    z = torch.randn(2, 5)
    close(nets.G_ema(z), G(z))
    close(nets.D(G(z)), D(G(z)))


@pytest.mark.parametrize("made, recorded", [(1, 2), (3, 3)])  # of 8 channels
def test_minibatch_statistics_that_do_not_fit(made, recorded, G, path):
    D = small_D()
    D.b4.conv.weight = torch.nn.Parameter(torch.randn(8, 8 + made, 3, 3))
    tf.write(path, {"G_ema": G, "D": D}, settings=dict(mbstd_num_features=recorded))
    checkpoint = open_checkpoint(path)
    reason = f"{recorded} channels of minibatch statistics and 8 others"
    assert reason in checkpoint.unbuilt["D"] and list(checkpoint.tensors) == ["G_ema"]


def test_pipeline_and_logits(path):
    nets = load_networks(FIXTURES / "sg2ada-cond-32.pkl", "cpu")
    tf.write(path, {"G": nets.G_ema, "D": nets.D, "G_ema": nets.G_ema})
    pipe = Pipeline.from_pretrained(path, "cpu")
    out, expected = (p(seeds=[3, 4], label=2) for p in (pipe, Pipeline(nets)))
    assert out.images[0].mode == "L" and out.labels == [2, 2]
    pictures = [np.asarray(o.images[1], dtype=int) for o in (out, expected)]
    assert abs(pictures[0] - pictures[1]).max() <= 1 and pictures[0].std() > 5
    assert pipe.networks.class_names == ("0", "1", "2", "3", "4")
    logits = pipe.networks.D(torch.zeros(2, 1, 32, 32), torch.eye(5)[:2])
    assert logits.shape == (2, 1) and logits.isfinite().all()


def test_missing_networks(G, path):
    for networks in ({"G_ema": G}, {"G": G}, {"G_ema": G, "D": small_D()}):
        tf.write(path, networks)
        nets = load_networks(path, "cpu")
        assert nets.checkpoint.stored.keys() == networks.keys()
        for name in ("G", "D", "G_ema"):
            assert (getattr(nets, name) is None) == (name not in networks)
    D = _written(path, small_G(c_dim=2, channels=1)).config.D  # to begin anew
    assert (D.resolution, D.c_dim, D.channels, D.channel_base) == ((16, 16), 2, 1, 64)
    tf.write(path, {"D": small_D()})
    found = open_checkpoint(path)
    assert found.config is None and "only a discriminator" in found.reason
    assert found.stored["D"]["4x4/Conv/weight"].shape == (3, 3, 9, 8)


def test_stored_tensors_keep_their_names(G, path):
    stored = _written(path, G).stored["G_ema"]
    assert stored.keys() == tf.variables_G(G).keys()
    for name, value in tf.variables_G(G).items():
        assert torch.equal(stored[name].read(), torch.tensor(np.array(value))), name


def _stylegan1():
    shapes = {
        "synthesis/4x4/Const/const": (1, 8, 4, 4),
        "synthesis/4x4/Const/Noise/weight": (8,),
        "synthesis/4x4/Const/StyleMod/weight": (6, 16),
        "synthesis/8x8/Conv0_up/weight": (3, 3, 8, 8),
        "synthesis/ToRGB_lod0/weight": (1, 1, 8, 3),
        "mapping/Dense0/weight": (6, 6),
        "lod": (),
    }
    return [(name, np.ones(shape, dtype=np.float32)) for name, shape in shapes.items()]


@pytest.mark.parametrize("version, styles", [(2, True), (3, False), (4, True)])
def test_tensors_of_stylegan1(version, styles, path):
    """The version of the file shows it, and so do the names."""
    about = dict(version=version, name="G", static_kwargs={}, components={})
    own = [v for v in _stylegan1() if styles or "StyleMod" not in v[0]]
    network = tf.Network(**about, build_module_src=tf.SOURCE, variables=own)
    tf.write_root(path, (network, None, network))
    found = open_checkpoint(path)
    assert found.family == "StyleGAN1" and found.config is found.tensors is None
    assert found.reason == (
        "StyleGAN1 is not supported yet; `stylegan convert --to safetensors` can write its tensors"
    )
    arrays = found.stored["G_ema"]
    assert {k: a.shape for k, a in arrays.items()} == {k: v.shape for k, v in own}
    assert arrays["synthesis/4x4/Const/const"].read().sum() == 128
    with pytest.raises(CheckpointError, match="StyleGAN1 is not supported"):
        load_networks(path, "cpu")


def test_labels_of_version_4(path):
    network = tf.published(small_G(c_dim=3), version=4)
    mapping = network.components["mapping"]
    mapping.variables = [v for v in mapping.variables if "LabelEmbed" not in v[0]]
    mapping.variables.append(("LabelConcat/weight", np.ones((3, 6), dtype=np.float32)))
    tf.write_root(path, (None, None, network))
    found = open_checkpoint(path)
    assert found.family == "StyleGAN2" and found.config is None and "LabelConcat" in found.reason
    assert found.stored["G_ema"]["mapping/LabelConcat/weight"].shape == (3, 6)


def test_source_is_never_run(G, path, tmp_path):
    marker = tmp_path / "ran"
    source = f"import pathlib; pathlib.Path({str(marker)!r}).touch()\n"
    tf.write(path, {"G": G, "D": small_D(), "G_ema": G}, source=source + "#" * 100_000)
    assert path.read_bytes().count(source.encode()) == 1
    nets = load_networks(path, "cpu")
    assert nets.G and nets.D and nets.G_ema and not marker.exists()
    exec(source)
    assert marker.exists()
