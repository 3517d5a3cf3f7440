# SPDX-License-Identifier: Apache-2.0
"""A network of published size opens quickly, in little more memory than its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stylegan import build_generator
from stylegan.checkpoints.nvidia import writer as nvidia_writer
from stylegan.checkpoints.rosinality import writer as rosinality_writer
from stylegan.config import preset
from stylegan.networks import Networks

CHILD = """
import json, re, sys, time
import stylegan
from stylegan.networks import load_networks
stylegan.build_generator("stylegan2", resolution=16, channel_base=256)  # what is imported late
def memory():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
before, begun = memory(), time.process_time()
nets = load_networks(sys.argv[1], "cpu")
opened = memory() - before
G = nets.G_ema
peak, seconds = memory() - before, time.process_time() - begun
size = sum(t.nbytes for t in (*G.parameters(), *G.buffers()))
count = sum(p.numel() for p in G.parameters())
print(json.dumps({"s": seconds, "opened": opened, "peak": peak, "size": size, "count": count}))
"""


@pytest.mark.thorough
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_30_million_parameters(tmp_path):
    config = preset("stylegan2").resolved()
    config = config.with_fields(resolution=(1024, 1024), channel_base=32768).resolved()
    nets = Networks(config, {}, G_ema=build_generator(config))
    nvidia_writer.write(nets, tmp_path / "a.pkl")
    rosinality_writer.write(nets, tmp_path / "a.pt")
    del nets
    for path in (tmp_path / "a.pkl", tmp_path / "a.pt"):
        args = [sys.executable, "-c", CHILD, str(path)]
        child = subprocess.run(args, capture_output=True, text=True, timeout=120)
        assert child.returncode == 0, child.stderr
        figures = json.loads(child.stdout)
        assert figures["count"] == 30_370_060
        assert figures["s"] < 3, figures
        assert figures["opened"] < 0.1 * figures["size"], figures
        assert figures["peak"] < 1.5 * figures["size"], figures
