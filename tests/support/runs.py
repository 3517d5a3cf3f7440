# SPDX-License-Identifier: Apache-2.0
"""Small training runs, and what they log."""

import dataclasses
import json

import torch

from stylegan.training.loop import Trainer
from stylegan.training.setup import fit_to_data
from support.tiny import tiny

CPU = torch.device("cpu")


def trainer(images, run_dir, cond=False, workers=0, max_images=None, **fields):
    config = tiny(
        **{"kimg": 0.048, "tick_kimg": 0.004, "grid_kimg": 0.02, "snapshot_kimg": 0.02, **fields}
    )
    data = dataclasses.replace(
        config.data,
        path=str(images),
        cond=cond,
        mirror=True,
        workers=workers,
        max_images=max_images,
    )
    config, dataset = fit_to_data(dataclasses.replace(config, data=data))
    run_dir.mkdir(exist_ok=True)
    return Trainer(config, dataset, CPU, run_dir)


def lines(run_dir, events=False):
    log = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    return [line for line in log if ("event" in line) == events]
