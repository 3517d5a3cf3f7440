# SPDX-License-Identifier: Apache-2.0
"""Time and memory of a training step, phase by phase.

The step counts G main + path length / 4 + D main + R1 / 16, as often as each happens. The default
is the 64 px network in float32.
"""

import click
import torch
from common import report, time_ms, where

from stylegan.device import resolve_device
from stylegan.presets import preset
from stylegan.training.memory import estimate_memory_gb, peak_memory_gb
from stylegan.training.step import TrainingStep


@click.command()
@click.option("--resolution", default=64)
@click.option("--channel-base", default=8192)
@click.option("--channel-max", default=256)
@click.option("--mapping-layers", default=2)
@click.option("--batch", default=8)
@click.option("--precision", default="float32")
@click.option("--device", default="auto")
@click.option("--repeats", default=5)
@click.option("--out", help="Path without ending of the result files.")
def main(device, repeats, out, **fields):
    """Print each phase, images/s and peak memory."""
    device = resolve_device(device)
    config = preset("auto", **fields).resolved()
    model = TrainingStep(config, device)
    t, (height, width) = config.train, config.G.resolution
    reals = torch.rand(t.batch, config.G.channels, height, width, device=device) * 2 - 1
    phases = {
        "G main": (model.g_main, 1),
        "path length": (model.g_path_length, 1 / t.pl_interval),
        "D main": (lambda: model.d_main(reals), 1),
        "R1": (lambda: model.d_r1(reals), 1 / t.r1_interval),
    }
    for run, _ in phases.values():
        run()
    peak = peak_memory_gb(device)  # before the timing takes memory to cool the caches with
    rows, step = [], 0
    for name, (run, share) in phases.items():
        ms = time_ms(run, device, repeats)
        step += ms * share
        rows.append(
            {"phase": name, "ms": ms, "per step": round(share, 4), "images/s": t.batch / ms * 1e3}
        )
    rows.append({"phase": "step", "ms": step, "per step": 1, "images/s": t.batch / step * 1e3})
    estimate = estimate_memory_gb(config, device)
    title = f"train step {width}x{height} batch {t.batch} base {config.G.channel_base}"
    machine = {
        **where(device),
        "peak_memory_gb": round(peak, 2),
        "estimated_gb": round(estimate, 2),
    }
    report(title, rows, machine, out)


if __name__ == "__main__":
    main()
