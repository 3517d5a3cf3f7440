# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch

from stylegan import Networks, build_generator
from stylegan.config import preset
from stylegan.metrics.registry import METRICS


@pytest.fixture(scope="session")
def stylegan3(tmp_path_factory):
    """A snapshot of an untrained StyleGAN3-T of 32 px."""
    folder = tmp_path_factory.mktemp("stylegan3") / "snapshot"
    folder.mkdir()
    fields = dict(resolution=32, channel_base=512, channel_max=16)
    config = preset("stylegan3-t", **fields).resolved()
    torch.manual_seed(0)
    Networks(config, {"kimg": 7}, G_ema=build_generator(config)).save(folder)
    return folder


def test_equivariance(run, stylegan3, tmp_path):
    args = ["--metrics", "eqr,eqt,eqr", "--samples", "2", "--json", "new/m.json", "--device", "cpu"]
    code, out, err = run("metrics", stylegan3, *args)
    assert code == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert [line[0] for line in lines] == ["eqr", "eqt_int", "eqt_frac"]
    assert all(line[2:] == ["dB", "2", "samples"] for line in lines)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["m.json"]
    content = json.loads((tmp_path / "new" / "m.json").read_text())
    assert content["kimg"] == 7 and content["seed"] == 0 and content["device"].startswith("cpu")
    for line, entry in zip(lines, content["metrics"]):
        assert entry["name"] == line[0] and entry["samples"] == 2 and entry["unit"] == "dB"
        assert f"{entry['value']:.2f}" == line[1]


def test_the_list_of_metrics_is_in_the_help(run):
    out = run("metrics", "--help")[1]
    for name, metric in METRICS.items():
        assert f"{name} " in out and metric.about in out


@pytest.mark.parametrize(
    "args, message",
    [
        ("{trained} --metrics eqt", "expected a StyleGAN3 network"),
        ("{trained} --metrics eqt,nonsense", "got 'nonsense'"),
        ("{trained}", "Missing option '--metrics'"),
        ("nothing --metrics eqt", "nothing: there is no such folder"),
        ("{stylegan3} --metrics eqt --json {text}/m.json", "cannot make the folder"),
        ("{stylegan3} --metrics eqt --samples 0", "0 is not in the range"),
    ],
)
def test_wrong_input_is_one_line(run, trained, stylegan3, tmp_path, args, message):
    (tmp_path / "text").write_text("hello")
    places = {"trained": trained, "stylegan3": stylegan3, "text": tmp_path / "text"}
    code, _, err = run("metrics", *(part.format(**places) for part in args.split()))
    assert code == 2 and message in err and err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["text"]
