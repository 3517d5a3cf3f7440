# SPDX-License-Identifier: Apache-2.0
"""The cost of being able to resume: the time of snapshots, reports and resuming.

By default a run writes a snapshot and a report every 200 kimg, and at least every 15 minutes. The
worst case is a machine that needs more than 15 minutes for 200 kimg.
"""

import tempfile
import time

import click
from harness.common import report, where

from stylegan.config import TrainConfig, preset
from stylegan.device import resolve_device
from stylegan.runs.folder import new_run_dir
from stylegan.runs.report import write_report
from stylegan.training.loop import Trainer
from stylegan.training.setup import about, fit_to_data

CASES = {
    "demo": dict(),
    "auto, 64 px": dict(resolution=(64, 64)),
    "auto, 256 px": dict(resolution=(256, 256)),
    "stylegan2, 1024 px": dict(resolution=(1024, 1024)),
}


@click.command()
@click.option("--device", default="auto")
@click.option("--ticks", default=2000, help="Lines in the log that a report draws.")
@click.option("--out", help="Path of the result files, without suffix.")
def main(device, ticks, out):
    """Print the seconds and the share of a run."""
    device, rows = resolve_device(device), []
    interval = TrainConfig().snapshot_minutes * 60
    for name, data in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            rows.append(
                {"preset": name, **measure(name.split(",")[0], data, device, ticks, folder)}
            )
            rows[-1]["% of 15 minutes"] = 100 * sum(rows[-1][k] for k in PARTS) / interval
    report("Snapshots, reports and resuming", rows, where(device), out)


PARTS = ("snapshot s", "report s")


def measure(name, data, device, ticks, folder):
    """Seconds of each part, after one step, which fills the optimizers' state."""
    from dataclasses import replace

    config = preset(name)
    config, dataset = fit_to_data(replace(config, data=replace(config.data, **data)))
    config = replace(config, train=replace(config.train, batch=1, batch_gpu=1, kimg=0.001))
    run_dir = new_run_dir(folder, "run", config, about(dataset, device))
    trainer = Trainer(config, dataset, device, run_dir)
    snapshot = trainer.run()
    size = sum(p.stat().st_size for p in snapshot.iterdir()) / 1e6
    line = '{"kimg": %g, "loss/G": 1.5, "loss/D": 0.5, "images_per_s": 3.0}\n'
    (run_dir / "log.jsonl").write_text("".join(line % (0.004 * i) for i in range(ticks)))
    sheet = (run_dir / "samples" / "000000.001.png").read_bytes()
    for i in range(24):
        (run_dir / "samples" / f"{i:010.3f}.png").write_bytes(sheet)
    seconds = {}
    trainer.model.images_seen += 1
    seconds["snapshot s"] = timed(trainer.save_snapshot)
    seconds["report s"] = timed(lambda: write_report(run_dir))
    seconds["resume s"] = timed(trainer.resume_newest)
    return {"MB": size, **seconds}


def timed(run):
    """Seconds of one call."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
