# SPDX-License-Identifier: Apache-2.0
import pytest
from click.testing import CliRunner

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
    """The run folder of a network trained for two steps on the embedded demo, with its classes."""
    return _train(tmp_path_factory.mktemp("runs"), "--cond")


@pytest.fixture(scope="session")
def trained3(tmp_path_factory):
    """The same of StyleGAN3, without classes."""
    return _train(tmp_path_factory.mktemp("runs3"), "--cfg", "stylegan3-t")


def _train(outdir, *options):
    args = ["train", *SMALL, *options, "--resolution", "16", "--outdir", str(outdir)]
    result = CliRunner().invoke(program, args)
    assert result.exit_code == 0, result.output
    return next(outdir.iterdir())
