# SPDX-License-Identifier: Apache-2.0
import pytest
from click.testing import CliRunner
from support.pictures import encoded, picture
from support.snapshots import snapshot

from stylegan.cli.main import program

SMALL = [
    "--channel-base",
    "128",
    "--channel-max",
    "8",
    "--batch",
    "4",
    "--kimg",
    "0.008",
    "--device",
    "cpu",
]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run("train", "--kimg", "1") -> (exit code, standard output, standard error), in an empty
    folder."""
    monkeypatch.chdir(tmp_path)

    def invoke(*args):
        result = CliRunner().invoke(program, [str(a) for a in args])
        return result.exit_code, result.stdout, result.stderr

    return invoke


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The run folder of a network trained for two steps on the emoji, with their classes."""
    return _train(tmp_path_factory.mktemp("runs"), "--data", "emoji", "--cond")


@pytest.fixture(scope="session")
def trained3(tmp_path_factory):
    """The same of StyleGAN3, without classes."""
    return _train(tmp_path_factory.mktemp("runs3"), "--cfg", "stylegan3-t")


def _train(outdir, *options):
    args = ["train", *SMALL, *options, "--resolution", "16", "--outdir", str(outdir)]
    result = CliRunner().invoke(program, args)
    assert result.exit_code == 0, result.output
    return next(outdir.iterdir())


@pytest.fixture(scope="session")
def places(tmp_path_factory):
    """Snapshots of StyleGAN2 and 3, and a folder of images: {net, net3, data}."""
    folder = tmp_path_factory.mktemp("siblings")
    (folder / "data").mkdir()
    for i in range(3):
        (folder / "data" / f"{i}.png").write_bytes(encoded(picture((16, 16), seed=i)))
    net3 = snapshot(folder / "net3", name="stylegan3-t", resolution=32)
    net = snapshot(folder / "net", architecture="skip")
    return {"net": net, "net3": net3, "data": folder / "data"}
