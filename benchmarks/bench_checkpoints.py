# SPDX-License-Identifier: Apache-2.0
"""Opening checkpoints: seconds, and peak memory as a multiple of the networks' size.

Each file is opened in a new process, from the system's cache. "open" reads the structure of the
file and compares all names and shapes; "load" also reads the weights. For comparison: a snapshot
folder of safetensors, and `torch.load` of the .pt, which builds no networks.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
from harness.common import report, where

from stylegan import build_discriminator, build_generator
from stylegan.checkpoints.nvidia import writer as nvidia_writer
from stylegan.checkpoints.rosinality import writer as rosinality_writer
from stylegan.config import preset
from stylegan.networks import Networks

MEASURE = """
import json, re, sys, time
import torch, stylegan
from stylegan.networks import load_networks
stylegan.build_generator("stylegan2", resolution=16, channel_base=256)  # what is imported late
def memory():  # the peak; getrusage would count that of the parent process
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
path, *names = sys.argv[1:]
before, begun = memory(), time.perf_counter()
if names:
    nets = load_networks(path, "cpu")
    opened = time.perf_counter()
    modules = [getattr(nets, name) for name in names]
    size = sum(t.nbytes for m in modules for t in (*m.parameters(), *m.buffers()))
else:
    content = torch.load(path, weights_only=True)
    opened = time.perf_counter()
    size = sum(t.nbytes for v in content.values() if isinstance(v, dict)
               for t in v.values() if isinstance(t, torch.Tensor))
done = time.perf_counter()
print(json.dumps({"open s": opened - begun, "load s": done - begun, "MB": size / 1e6,
                  "peak / size": (memory() - before) / size}))
"""


@click.command()
@click.option("--resolution", default=1024)
@click.option("--repeats", default=3, help="Runs of each; the table shows the median one.")
@click.option("--out", help="Path of the result files without suffix.")
def main(resolution, repeats, out):
    """Print the table."""
    config = preset("stylegan2", resolution=resolution).resolved()
    nets = Networks(config, {}, G_ema=build_generator(config), D=build_discriminator(config))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "snapshot").mkdir()
        nets.save(folder / "snapshot")
        nvidia_writer.write(nets, folder / "a.pkl")
        rosinality_writer.write(nets, folder / "a.pt")
        for name in ("snapshot", "a.pkl", "a.pt"):
            for parts in (["G_ema"], ["G_ema", "D"]):
                row = median([run(folder / name, *parts) for _ in range(repeats)])
                rows.append({"file": name, "networks": ", ".join(parts), **row})
        row = median([run(folder / "a.pt") for _ in range(repeats)])
        rows.append({"file": "a.pt", "networks": "torch.load of all", **row})
    report(f"Opening checkpoints of {resolution} px", rows, where("cpu"), out)


def run(*args):
    """The output of `MEASURE`, and the seconds of the whole process."""
    begun = time.perf_counter()
    child = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, args)], check=True, capture_output=True, text=True
    )
    return {**json.loads(child.stdout), "process s": time.perf_counter() - begun}


def median(rows):
    """The row with the median load time."""
    return sorted(rows, key=lambda row: row["load s"])[len(rows) // 2]


if __name__ == "__main__":
    main()
