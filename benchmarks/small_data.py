# SPDX-License-Identifier: Apache-2.0
"""What augmentation does for a small data set: D's scores of images that it has seen and of others.

Takes two runs on the same `--max-images` of one data set, which kept all their snapshots. These are
the runs of the result file, half an hour on two cores:

    F="--preset demo --cond --max-images 500 --gamma 0.3 --no-mirror --kimg 60 --minutes 0"
    F="$F --snapshot-kimg 10 --snapshot-minutes 0 --keep 0 --data faces"
    stylegan train $F --aug none --outdir without
    stylegan train $F --aug ada --outdir with
    python benchmarks/small_data.py without with --out benchmarks/results/small_data_cpu

Unseen are as many other images of the data set, drawn with the seed of the run. D scores images
without augmentation here. The sign on real images is the mean of what D saw in training since the
snapshot before, from the log.
"""

import json

import click
import numpy as np
import torch
from harness import plots
from harness.common import report, run_in, where

from stylegan.data.dataset import ImageDataset
from stylegan.networks import load_networks
from stylegan.runs.folder import read_about
from stylegan.snapshots import snapshots_of

CHUNK = 50  # images at once


def images_of(config):
    """(seen, unseen) images of a run, each (pixels in [-1, 1], labels)."""
    data, count = config.data, config.data.max_images
    dataset = ImageDataset(data.path, config.G.resolution, config.G.channels, cond=data.cond)
    order = np.random.default_rng(config.train.seed).permutation(len(dataset))  # of --max-images
    assert len(order) >= 2 * count, "too few images for as many unseen ones"
    parts = []
    for indices in (order[:count], order[count : 2 * count]):
        pixels, labels = zip(*(dataset[int(i)] for i in sorted(indices)))
        parts.append((torch.stack(pixels).float() / 127.5 - 1, torch.stack(labels)))
    return parts


@torch.no_grad()
def scores(D, images):
    """D's scores [N] of images with their labels."""
    pixels, labels = (part.split(CHUNK) for part in images)
    return torch.cat([D(x, c if D.c_dim else None)[:, 0] for x, c in zip(pixels, labels)])


def log_between(run_dir, start, end):
    """{name: mean} of the lines of numbers later than `start` kimg and not than `end`."""
    lines = [json.loads(line) for line in (run_dir / "log.jsonl").read_text("utf-8").splitlines()]
    chosen = [x for x in lines if "event" not in x and start < x["kimg"] <= end]
    names = ("sign/real", "sign/fake", "augment_p")
    return {n: float(np.mean([x[n] for x in chosen])) for n in names if all(n in x for x in chosen)}


def rows_of(run_dir):
    """A row for every snapshot of a run."""
    config = read_about(run_dir)["config"]
    seen, unseen = images_of(config)
    before = 0.0
    for snapshot in snapshots_of(run_dir):
        kimg = float(snapshot.name)
        D = load_networks(snapshot, "cpu").D.eval()
        a, b = scores(D, seen), scores(D, unseen)
        log = log_between(run_dir, before, kimg)
        yield {
            "augmentation": config.train.aug,
            "kimg": kimg,
            "sign on real": log.get("sign/real"),
            "target": config.train.ada_target,
            "p": log.get("augment_p", 0.0),
            "score of seen": float(a.mean()),
            "score of unseen": float(b.mean()),
            "difference": float(a.mean() - b.mean()),
            "sign of seen": float(a.sign().mean()),
            "sign of unseen": float(b.sign().mean()),
        }
        before = kimg


def chart(rows, plt):
    """D on real images over a run: mean sign in training, scores of seen and unseen images, the
    difference between the two, p."""
    figure, axes = plt.subplots(2, 2, figsize=(9, 6.4), layout="constrained")
    sign, score, difference, p = axes.flat
    for run in dict.fromkeys(row["augmentation"] for row in rows):
        mine = [row for row in rows if row["augmentation"] == run]
        color = plots.PLAIN if run == "none" else plots.HELPED
        label, kimg = f"--aug {run}", [row["kimg"] for row in mine]

        def line(ax, name, label=label, style="-", mine=mine, kimg=kimg, color=color):
            ax.plot(kimg, [row[name] for row in mine], style, color=color, label=label)

        line(sign, "sign on real")
        line(score, "score of seen", f"{label}, seen")
        line(score, "score of unseen", f"{label}, unseen", "--")
        line(difference, "difference")
        line(p, "p")
    limit = rows[0]["target"] + 0.1
    sign.axhline(limit, color="#777777", linewidth=1, linestyle=":", label="target + 0.1")
    titles = {
        sign: "Mean sign of D on real images in training",
        score: "D's score of real images",
        difference: "Score of seen minus unseen images",
        p: "Probability of augmentation",
    }
    for ax, title in titles.items():
        ax.set_title(title, size=10)
        ax.set_xlabel("kimg")
        ax.legend(fontsize=8)
    figure.get_layout_engine().set(rect=(0, 0.03, 1, 0.97))
    return figure


@click.command(help=__doc__)
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False))
@click.option("--out", type=click.Path(), help="Write OUT.md, OUT.jsonl and OUT.png.")
def main(runs, out):
    rows = [row for run in runs for row in rows_of(run_in(run))]
    report("small_data", rows, where("cpu"), out)
    plots.after(out, chart)


if __name__ == "__main__":
    main()
