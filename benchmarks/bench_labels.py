# SPDX-License-Identifier: Apache-2.0
"""Whether pictures show the labels that they were asked for.

A small classifier learns the labels of the faces from 3,500 real images. Its accuracy on the other
500 says which labels are easy to see in pictures of this size, and bounds what can be measured.
Then the network draws pictures, and the classifier says whether it sees the asked labels in them:

- training: labels of training images, drawn at random.
- balanced: for every label, half of the pictures with it and half without, with the label vectors
  of training images of both kinds. The figure is the mean of both halves, so that a network that
  ignores a label has 50 %.
"""

import time

import click
import numpy as np
import torch
import torch.nn.functional as F
from harness.common import report, where
from torch import nn

from stylegan import Pipeline
from stylegan.data.dataset import ImageDataset

HELD_OUT = 500
EPOCHS = 14
BATCH = 64


@click.command()
@click.argument("network")
@click.option("--samples", default=2000, help="Pictures with labels of training images.")
@click.option("--each", default=200, help="Pictures with a label, and without it.")
@click.option("--trunc", default=1.0, help="Truncation psi.")
@click.option("--trunc-center", type=click.Choice(["all", "class"]))
@click.option("--data", default="faces")
@click.option("--device", default="auto")
@click.option("--out", help="Path of the result files, without suffix.")
def main(network, samples, each, trunc, trunc_center, data, device, out):
    """Print how often a classifier agrees with the asked labels."""
    pipe = Pipeline.from_pretrained(network, device, truncation_center=trunc_center)
    images, labels, names = read(data, pipe.G.config.resolution)
    order = np.random.default_rng(0).permutation(len(images))
    held, rest = order[:HELD_OUT], order[HELD_OUT:]
    begun = time.perf_counter()
    net = train(images[rest], labels[rest])
    print(f"classifier: {len(rest)} images, {time.perf_counter() - begun:.0f} s")
    right = predict(net, images[held]) == (labels[held] > 0)
    real = [balanced(right[:, i], labels[held, i]) for i in range(len(names))]

    draw = lambda c, first: pictures(pipe, c, first, trunc)
    rng = np.random.default_rng(1)
    c = labels[rng.integers(len(labels), size=samples)]
    agrees = predict(net, draw(c, 0)) == (c > 0)
    rows = []
    for i, name in enumerate(names):
        c = torch.cat(
            [some(rng, labels[labels[:, i] > 0], each), some(rng, labels[labels[:, i] <= 0], each)]
        )
        own = predict(net, draw(c, samples + 2 * each * i))[:, i] == (c[:, i] > 0)
        rows.append(
            {
                "label": name,
                "training images %": percent(labels[:, i] > 0),
                "real, balanced %": 100 * real[i],
                "real %": percent(right[:, i]),
                "drawn, training %": percent(agrees[:, i]),
                "drawn, balanced %": percent(own),
                "with it %": percent(own[:each]),
                "without it %": percent(own[each:]),
            }
        )
    rows.sort(key=lambda row: -row["real, balanced %"])
    kimg = pipe.networks.meta.get("kimg")
    about = {"kimg": kimg, "psi": trunc, "center": pipe.truncation_center, **where(pipe.device)}
    report("Labels that pictures show, the easiest first", rows, about, out)
    easiest = [row["drawn, balanced %"] for row in rows[:5]]
    print(f"five easiest: {min(easiest):.1f} to {max(easiest):.1f} %")


def read(data, resolution):
    """float [N, C, H, W] in [-1, 1], labels [N, c_dim], and their names."""
    dataset = ImageDataset(data, resolution)
    items = [dataset[i] for i in range(len(dataset))]
    images = torch.stack([x for x, _ in items]).float() / 127.5 - 1
    labels = torch.stack([c for _, c in items])
    names = dataset.class_names or dataset.labels.attributes
    return images, labels, names or [str(i) for i in range(dataset.c_dim)]


def classifier(channels, outputs, size):
    """Three blocks of two convolutions, and a dense layer."""
    layers, width = [], channels
    for out in (32, 64, 96):
        for _ in range(2):
            layers += [
                nn.Conv2d(width, out, 3, padding=1, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(),
            ]
            width = out
        layers.append(nn.MaxPool2d(2))
    h, w = (side // 8 for side in size)
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(width * h * w, outputs))


def train(images, labels):
    """A classifier of real images, mirrored half the time. Both values of a label weigh alike."""
    torch.manual_seed(0)
    net = classifier(images.shape[1], labels.shape[1], images.shape[2:])
    on = (labels > 0).float()
    weight = (1 - on.mean(0)) / on.mean(0).clamp(min=1e-3)
    steps = EPOCHS * (len(images) // BATCH)
    opt = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(opt, 4e-3, total_steps=steps)
    for _ in range(EPOCHS):
        for pick in torch.randperm(len(images)).split(BATCH)[: len(images) // BATCH]:
            x = images[pick]
            flip = torch.rand(len(x), 1, 1, 1) < 0.5
            x = torch.where(flip, x.flip(3), x)
            loss = F.binary_cross_entropy_with_logits(net(x), on[pick], pos_weight=weight)
            opt.zero_grad()
            loss.backward()
            opt.step()
            schedule.step()
    return net.eval()


@torch.no_grad()
def predict(net, images):
    """bool [N, c_dim]: the labels seen in pictures and their mirror images together."""
    return torch.cat([net(x) + net(x.flip(3)) for x in images.split(256)]) > 0


def pictures(pipe, c, first, psi):
    """float [N, C, H, W] in [-1, 1]: a picture of each label, of the seeds from `first` on."""
    drawn = pipe(range(first, first + len(c)), label=c, truncation_psi=psi, output_type="pt").images
    return (drawn.cpu() * 255).round() / 127.5 - 1


def some(rng, rows, count):
    """`count` of the rows at random, with repetitions."""
    return rows[rng.integers(len(rows), size=count)]


def balanced(right, label):
    """The mean of the accuracies on images with a label and without it."""
    on = label > 0
    return (right[on].float().mean() + right[~on].float().mean()).item() / 2


def percent(flags):
    """How many are true."""
    return 100 * flags.float().mean().item()


if __name__ == "__main__":
    main()
