# SPDX-License-Identifier: Apache-2.0
"""`stylegan info`, and the tensors of networks that cannot be built here."""

import json

import numpy as np
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from checkpoints import tensorflow_pickles as tf
from checkpoints.nvidia_pickles import dump, of_class
from stylegan import build_generator
from stylegan.cli.main import program


def run(*args):
    result = CliRunner().invoke(program, [str(a) for a in args])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_stylegan1(tmp_path):
    names = ["mapping/Dense0/weight", "synthesis/4x4/Const/StyleMod/weight", "synthesis/lod"]
    variables = [(name, np.ones((2, 3), dtype=np.float32)) for name in names]
    settings = dict(resolution=1024, num_channels=3, mapping_fmaps=512)
    about = dict(version=3, name="G", static_kwargs=settings, components={})
    network = tf.Network(**about, build_module_src="raise", variables=variables)
    path = tf.write_root(tmp_path / "a.pkl", (network, None, network))
    rows = json.loads(run("info", "--json", path))
    assert rows["family"] == "StyleGAN1" and "--to safetensors" in rows["networks"]
    assert rows["images"] == "1024x1024 px, 3 channels"
    assert rows["layers"] == "mapping/Dense0, synthesis/4x4/Const/StyleMod, synthesis"
    assert rows["G_ema"] == "18 numbers in 3 tensors" and rows["D"] == "not in the file"
    assert rows["source text"].startswith("5 characters")
    out = tmp_path / "a.safetensors"
    assert "6 tensors of G_ema, G" in run("convert", path, out)
    assert load_file(out)["G_ema.mapping/Dense0/weight"].shape == (2, 3)


def test_r3gan(tmp_path):
    Outer, Inner = of_class("training.networks.Generator"), of_class("R3GAN.Networks.Generator")
    G = Outer()
    G.img_resolution, G.img_channels = 256, 3
    G.Model = Inner()
    G.Model.Layer = torch.nn.Linear(4, 8)
    path = dump(tmp_path / "a.pkl", {"G_ema": G}, classes=(Outer, Inner))
    rows = json.loads(run("info", "--json", path))
    assert rows["family"] == "R3GAN" and rows["images"] == "256x256 px, 3 channels"
    assert rows["layers"] == "Model.Layer" and rows["G_ema"] == "40 numbers in 2 tensors"
    out = tmp_path / "a.safetensors"
    assert "2 tensors of G_ema" in run("convert", path, out)
    assert torch.equal(load_file(out)["G_ema.Model.Layer.bias"], G.Model.Layer.bias)


def test_a_snapshot_tells_where_it_came_from(tmp_path):
    sizes = dict(resolution=16, channel_base=128, channel_max=8, z_dim=8, w_dim=8, conv_clamp=None)
    path = tf.write(tmp_path / "a.pkl", {"G_ema": build_generator("stylegan2", **sizes)})
    run("convert", path, tmp_path / "snapshot")
    before, after = (json.loads(run("info", "--json", p)) for p in (path, tmp_path / "snapshot"))
    assert after["from"] == "a.pkl (NVIDIA TensorFlow .pkl)" and after["data"] == "not recorded"
    for row in ("images", "G_ema", "layers", "sha256"):
        assert after[row] == before[row], row
